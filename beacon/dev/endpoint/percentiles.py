"""A histogram of durations with percentiles: accurate to one percent, of constant size.

Pure. It must not keep single values: reading the statistics would become slower with every request.
"""

import collections
import math
from dataclasses import dataclass

_WIDTH = math.log(1.01)  # a bucket ends one percent above where it begins
_SMALLEST_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Durations in seconds; 0 when there are none."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class Distribution:
    """Counts durations in buckets of equal relative width."""

    def __init__(self) -> None:
        self._buckets: collections.Counter[int] = collections.Counter()
        self._count = 0
        self._max_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count a duration."""
        self._buckets[math.ceil(math.log(max(duration_s, _SMALLEST_S)) / _WIDTH)] += 1
        self._count += 1
        self._max_s = max(self._max_s, duration_s)

    def percentiles(self) -> Percentiles:
        """Return the percentiles; each is the upper bound of its bucket, but at most the maximum."""
        ranks = {share: math.ceil(share * self._count) for share in (0.5, 0.95, 0.99)}
        found = dict.fromkeys(ranks, 0.0)
        passed = 0
        for bucket in sorted(self._buckets):
            before, passed = passed, passed + self._buckets[bucket]
            for share, rank in ranks.items():
                if before < rank <= passed:
                    found[share] = min(math.exp(bucket * _WIDTH), self._max_s)
        return Percentiles(count=self._count, p50=found[0.5], p95=found[0.95], p99=found[0.99], max=self._max_s)
