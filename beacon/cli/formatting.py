"""How the commands' answers look to a person: plain lines, aligned, without colour. Pure; nothing here asks anybody."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from beacon.domain import instants

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def status(seen: Mapping[str, Any]) -> Iterator[str]:
    """Render what `beacon status` found."""
    yield "All is well." if not seen["wrong"] else "Not well:"
    yield from (f"  {sentence}" for sentence in seen["wrong"])
    yield from _part(
        "processes",
        (
            (one["name"], one["state"], f"pid {one['pid']}" if one["pid"] else "", f"up {duration(one['up_s'])}")
            for one in seen["processes"]
        ),
    )
    yield from _part(
        "scopes",
        (
            (one["label"], "listed" if one["listed"] else "not listed", f"position {one['position']}", _ago(one))
            for one in seen["scopes"]
        ),
    )
    states = ("ready", "waiting", "queued", "in_flight", "failed", "delivered", "discarded")
    for one in seen["deliveries"]:
        yield from _part(f"deliveries to {one['endpoint']}", ((state, str(one[state])) for state in states))
        if one["oldest_us"]:
            yield f"  the oldest open one is {duration(time.time() - one['oldest_us'] / 1e6)} old"
    ends = [one for one in seen["components"] if one["component"] == "endpoint"]
    yield from _part("endpoint", ((one.get("endpoint", ""), one["state"], f"since {one['since']}") for one in ends))
    yield from _part("gaps, latest first", map(_gap, seen["gaps"]), none="none: nothing was ever missed")
    if seen["storage"]:
        kept = seen["storage"]
        sizes = f"database {size(kept['database_bytes'])}, log {size(kept['wal_bytes'])}, SQLite {kept['sqlite']}"
        yield from _part("storage", [(sizes,)])


def duration(seconds: float) -> str:
    """Say a duration with its two greatest units."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{max(0.0, seconds):.1f} s" if seconds < 10 else f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def size(count: int) -> str:
    """Say a number of bytes."""
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


def instant(us: int) -> str:
    """Say an instant, to the second; "?" when it is not known."""
    return datetime.fromtimestamp(us / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ") if us else "?"


def precise(us: int) -> str:
    """Say an instant as RFC 3339, to the microsecond; "" for never."""
    return instants.rfc3339(us) if us else ""


def _gap(gap: Mapping[str, Any]) -> Sequence[str]:
    until = instant(gap["until_us"]) if gap["until_us"] else "still open"
    found = f"{gap['differences']} differences" if gap["differences"] else gap["certainty"]
    return gap["label"], gap["reason"], f"{instant(gap['since_us'])} to {until}", found


def _ago(scope: Mapping[str, Any]) -> str:
    return f"confirmed {duration(time.time() - scope['position_us'] / 1e6)} ago" if scope["position_us"] else ""


def _part(title: str, rows: Iterable[Sequence[str]], *, none: str = "none") -> Iterator[str]:
    """Render a title and a table below it."""
    found = [tuple(row) for row in rows]
    yield f"\n{title}"
    if not found:
        yield f"  {none}"
        return
    widths = [max(len(row[at]) for row in found) for at in range(len(found[0]))]
    for row in found:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
