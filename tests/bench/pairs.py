"""What pairs of runs say about two builds: for each row the ratios within the pairs.

Machines drift, and shared disks stand still; both runs of a pair see about the same machine, so their ratio means more
than either figure. Only rows that both builds have can be compared.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Found = Mapping[str, Sequence[float]]  # by row, a figure for each pair
LEAST = 5  # pairs, without which a median and its spread are no evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the other build's figure this build's is: the median of `count` pairs and its spread."""

    median: float
    least: float
    most: float
    count: int


def ratio(this: Sequence[float], other: Sequence[float]) -> Ratio | None:
    """Compute a row's ratio; None when no pair has one.

    A pair of two zeros is even. A pair has no ratio when only the other build's figure is zero, or one is negative.
    """
    found = [one for one in map(_within, this, other) if one is not None]
    if not found:
        return None
    return Ratio(median=statistics.median(found), least=min(found), most=max(found), count=len(found))


def _within(this: float, other: float) -> float | None:
    if this == other == 0:
        return 1.0
    return this / other if other > 0 and this >= 0 else None
