"""Ratios of two builds within pairs of runs, by row.

The speed of a machine changes over time and shared disks stall; both runs of a pair see about the same conditions, so
their ratio is more reliable than either result. Only rows that both builds have can be compared.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Found = Mapping[str, Sequence[float]]  # by row, a figure for each pair
LEAST = 5  # fewer pairs give no reliable median and spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """This build's result divided by the other build's: the median of `count` pairs and its spread."""

    median: float
    least: float
    most: float
    count: int


def ratio(this: Sequence[float], other: Sequence[float]) -> Ratio | None:
    """Return a row's ratio, or None if no pair has one.

    A pair of two zeros has the ratio 1. A pair has none if only the other build's result is zero, or one is negative.
    """
    found = [one for one in map(_within, this, other) if one is not None]
    if not found:
        return None
    return Ratio(median=statistics.median(found), least=min(found), most=max(found), count=len(found))


def _within(this: float, other: float) -> float | None:
    if this == other == 0:
        return 1.0
    return this / other if other > 0 and this >= 0 else None
