"""Plain text for durations, sizes and instants. Pure."""

from datetime import UTC, datetime

from beacon.domain import instants

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """Format a duration with its two largest units."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{max(0.0, seconds):.1f} s" if seconds < 10 else f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def size(count: int) -> str:
    """Format a number of bytes."""
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


def instant(us: int) -> str:
    """Format an instant to the second; "?" if it is unknown (0)."""
    return datetime.fromtimestamp(us / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ") if us else "?"


def precise(us: int) -> str:
    """Format an instant as RFC 3339 to the microsecond; "" if it is 0 (never)."""
    return instants.rfc3339(us) if us else ""
