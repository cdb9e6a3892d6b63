"""Decides which timestamps in the ledger are older than a period, although the wall clock was set in between.

A timestamp is the wall clock time at which its row was written. Each jump of the wall clock ends an era; within an era
the wall clock advances with the time since boot, so the recorded jumps convert a timestamp to an age. A timestamp that
several eras contain (the clock was set back, and an hour was shown twice) has the lowest possible age, so no row is
removed early. A timestamp in the future that no era explains is as old as its discovery: the caller records that
(`unexplained`) as a jump by 0, and all rows with such timestamps are removed one period later.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

END_US = (1 << 63) - 1  # the highest integer of SQLite
_START_US = -END_US
_TOLERANCE_US = 10_000_000  # a process may see a jump earlier or later than the store

Range = tuple[int, int]  # both ends included


@dataclass(frozen=True, slots=True, kw_only=True)
class _Era:
    """The wall clock showed `first_us` to `last_us`; a timestamp of `lowest_us` to `highest_us` may belong to it."""

    first_us: int
    last_us: int
    lowest_us: int
    highest_us: int
    shift_us: int  # sum of the later jumps


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """The timestamps that are older than a period, and the others; both are sorted, and together they are all."""

    old: tuple[Range, ...]
    young: tuple[Range, ...]
    explained_us: int  # a later timestamp lies in the future, and no jump explains it

    def is_old(self, instant_us: int) -> bool:
        """Return True if a timestamp is older than the period."""
        return any(low <= instant_us <= high for low, high in self.old)


def split(jumps: Sequence[tuple[int, int]], *, now_us: int, since_us: int) -> Ages:
    """Divide all timestamps into those before `since_us` and the others.

    `jumps` are (time after the jump, difference) in the order in which they happened.
    """
    eras = _eras(jumps, now_us)
    explained_us = max(era.highest_us for era in eras)
    parts = [part for era in eras if (part := _young_part(era, since_us)) is not None]
    if explained_us < END_US:
        parts.append((explained_us + 1, END_US))
    young = _merged(parts)
    edges = [(_START_US - 1, _START_US - 1), *young, (END_US + 1, END_US + 1)]
    old = tuple((before[1] + 1, after[0] - 1) for before, after in pairwise(edges) if before[1] + 1 < after[0])
    return Ages(old=old, young=young, explained_us=explained_us)


def _eras(jumps: Sequence[tuple[int, int]], now_us: int) -> list[_Era]:
    eras = []
    first_us, lowest_us = _START_US, _START_US
    shift_us = sum(by_us for _, by_us in jumps)
    for at_us, by_us in jumps:
        last_us = at_us - by_us
        highest_us = last_us + _TOLERANCE_US if by_us else END_US
        eras.append(
            _Era(
                first_us=first_us,
                last_us=last_us,
                lowest_us=lowest_us,
                highest_us=highest_us,
                shift_us=shift_us,
            )
        )
        shift_us -= by_us
        # A forward jump skips timestamps; they count as the end of the skipped time.
        first_us, lowest_us = at_us, min(at_us, last_us) - _TOLERANCE_US
    eras.append(
        _Era(
            first_us=first_us,
            last_us=max(first_us, now_us),
            lowest_us=lowest_us,
            highest_us=max(first_us, now_us) + _TOLERANCE_US,
            shift_us=0,
        )
    )
    return eras


def _young_part(era: _Era, since_us: int) -> Range | None:
    if era.last_us + era.shift_us < since_us:
        return None
    if era.first_us + era.shift_us >= since_us:
        return era.lowest_us, era.highest_us
    return max(since_us - era.shift_us, era.lowest_us), era.highest_us


def _merged(parts: Iterable[Range]) -> tuple[Range, ...]:
    merged: list[Range] = []
    for low, high in sorted((max(low, _START_US), min(high, END_US)) for low, high in parts):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        elif low <= high:
            merged.append((low, high))
    return tuple(merged)
