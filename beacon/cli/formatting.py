"""Plain text for durations, sizes and instants, and the text form of `beacon status`. Pure; nothing here does I/O."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from beacon.domain import instants

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def status(snapshot: Mapping[str, Any]) -> Iterator[str]:
    """Render the values of `beacon status`."""
    yield "Healthy." if not snapshot["wrong"] else "Unhealthy:"
    yield from (f"  {sentence}" for sentence in snapshot["wrong"])
    yield from _section(
        "processes",
        (
            (one["name"], one["state"], f"pid {one['pid']}" if one["pid"] else "", f"up {duration(one['up_s'])}")
            for one in snapshot["processes"]
        ),
    )
    yield from _section(
        "scopes",
        (
            (one["label"], "listed" if one["listed"] else "not listed", f"position {one['position']}", _age(one))
            for one in snapshot["scopes"]
        ),
    )
    states = ("ready", "waiting", "queued", "in_flight", "failed", "delivered", "discarded")
    for one in snapshot["deliveries"]:
        yield from _section(f"deliveries to {one['endpoint']}", ((state, str(one[state])) for state in states))
        if one["oldest_us"]:
            yield f"  the oldest pending delivery is {duration(time.time() - one['oldest_us'] / 1e6)} old"
    endpoints = [one for one in snapshot["components"] if one["component"] == "endpoint"]
    yield from _section(
        "endpoint", ((one.get("endpoint", ""), one["state"], f"since {one['since']}") for one in endpoints)
    )
    yield from _section("gaps, latest first", map(_gap, snapshot["gaps"]), none="none: no interval was unwatched")
    if snapshot["storage"]:
        storage = snapshot["storage"]
        sizes = f"database {size(storage['database_bytes'])}, log {size(storage['wal_bytes'])}"
        yield from _section("storage", [(f"{sizes}, SQLite {storage['sqlite']}",)])


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


def _gap(gap: Mapping[str, Any]) -> Sequence[str]:
    until = instant(gap["until_us"]) if gap["until_us"] else "still open"
    found = f"{gap['differences']} differences" if gap["differences"] else gap["certainty"]
    return gap["label"], gap["reason"], f"{instant(gap['since_us'])} to {until}", found


def _age(scope: Mapping[str, Any]) -> str:
    return f"confirmed {duration(time.time() - scope['position_us'] / 1e6)} ago" if scope["position_us"] else ""


def _section(title: str, rows: Iterable[Sequence[str]], *, none: str = "none") -> Iterator[str]:
    """Render a title and a table below it."""
    cells = [tuple(row) for row in rows]
    yield f"\n{title}"
    if not cells:
        yield f"  {none}"
        return
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()
