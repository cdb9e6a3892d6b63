"""Instants as text: RFC 3339 in UTC, with microseconds. Standard library only."""

import time
from functools import lru_cache

LONGEST_S = 100 * 365 * 86_400.0  # longer durations are cut to this: an instant moved by it stays in the calendar


def rfc3339(instant_us: int) -> str:
    """Return an instant, in microseconds since the epoch, as RFC 3339 in UTC with six decimals."""
    seconds, micros = divmod(instant_us, 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z"


def now_rfc3339() -> str:
    """Return the current wall clock time as RFC 3339."""
    return rfc3339(time.time_ns() // 1000)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
