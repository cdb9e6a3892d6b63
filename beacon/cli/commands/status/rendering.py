"""The text of `beacon status`. Pure."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from beacon.cli import formatting

Values = Mapping[str, Any]


_RENAMED = {
    "position_us": "confirmed",
    "label": "scope",
    "position": "resourceVersion",
    "parked_us": "parkedSince",
    "paused_us": "pausedSince",
    "removed_us": "removedSince",
}
_UNITS = {"_s": "Seconds", "_us": ""}
_DATA = {"rows": "rows", "checks": "checks", "failed_by_code": "failedByCode"}  # maps whose keys are data


def plain(snapshot: Values) -> dict[str, Any]:
    """Return the documented form: keys in camelCase, instants in RFC 3339; the former keys are deprecated, and kept."""
    converted = _converted(snapshot)
    assert isinstance(converted, dict)  # noqa: S101  the snapshot is a map
    return converted


def _converted(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: each for key, inner in value.items() for name, each in _spellings(str(key), inner)}
    return [_converted(each) for each in value] if isinstance(value, list | tuple) else value


def _spellings(key: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield an entry in its present spelling, and in its former one if that differs."""
    if key in _DATA and isinstance(value, Mapping):
        yield _DATA[key], {name: _converted(each) for name, each in value.items()}
        return
    stem, unit = next(((key.removesuffix(end), unit) for end, unit in _UNITS.items() if key.endswith(end)), (key, ""))
    head, *rest = stem.split("_")
    name = _RENAMED.get(key, head + "".join(word.title() for word in rest) + unit)
    instant = key.endswith("_us") and isinstance(value, int)
    yield name, formatting.precise(value) if instant and isinstance(value, int) else _converted(value)
    if name != key:
        yield key, _converted(value)


def lines(snapshot: Values, *, wide: bool = False) -> Iterator[str]:
    """Render the values of `beacon status`; values of the store are "unknown" while it does not answer."""
    none = "unknown" if snapshot["store"]["why"] else "none"
    yield "Healthy." if not snapshot["wrong"] else "Unhealthy:"
    yield from (f"  {sentence}" for sentence in snapshot["wrong"])
    yield from _section(
        "processes",
        (
            (
                one["name"],
                one["state"],
                f"pid {one['pid']}" if one["pid"] else "",
                f"up {formatting.duration(one['up_s'])}",
            )
            for one in snapshot["processes"]
        ),
        none="unknown",
    )
    yield from _section(
        "scopes",
        (
            (one["label"], "listed" if one["listed"] else "not listed", f"position {one['position']}", _age(one))
            for one in snapshot["scopes"]
        ),
        none=none,
    )
    yield from _deliveries(snapshot["deliveries"], none)
    endpoints = snapshot.get("endpoints", ())
    title = "endpoints" if len(endpoints) > 1 else "endpoint"
    yield from _section(title, (_endpoint(one, several=len(endpoints) > 1) for one in endpoints), none="unknown")
    yield from _tokens(endpoints)
    if wide:
        yield from _section(
            "components",
            (
                (one["process"], one["component"], one["state"], f"since {one['since']}")
                for one in snapshot["components"]
            ),
            none="unknown",
        )
    yield from _section("gaps, latest first", map(_gap, snapshot["gaps"]), none=_no_gaps(snapshot))
    if not snapshot["storage"]:
        yield from _section("storage", (), none=none)
    else:
        storage = snapshot["storage"]
        sizes = f"database {formatting.size(storage['database_bytes'])}, log {formatting.size(storage['wal_bytes'])}"
        yield from _section("storage", [(f"{sizes}, SQLite {storage['sqlite']}",)])
    yield from _backups(snapshot)


def _backups(snapshot: Mapping[str, Any]) -> Iterator[str]:
    """Render the state of scheduled backups where they are configured."""
    found = [_backup(part) for part in snapshot["components"] if part["component"] == "backup"]
    if found:
        yield from _section("backups", found)


def _backup(part: Values) -> Sequence[str]:
    if not part["made_us"]:
        return (part["state"], "none yet")
    return part["state"], part["file"], f"made {formatting.duration(time.time() - part['made_us'] / 1e6)} ago"


def _endpoint(one: Values, *, several: bool) -> Sequence[str]:
    cells = (one["endpoint"], one["state"], f"since {one['since']}" if one["since"] else "")
    if not several:
        return cells
    pending = "" if one["pending"] is None else f"{one['pending']} pending, {one['failed']} failed"
    return (*cells, pending, "catching up" if one["catching_up"] else "", one["why"])


def _no_gaps(snapshot: Mapping[str, Any]) -> str:
    """Return the text for an empty list of gaps: the store records the gap before a scope's first list, too."""
    if snapshot["store"]["why"] or not all(scope["listed"] for scope in snapshot["scopes"]):
        return "unknown"
    return "none that ended within the retention period"


def _gap(gap: Mapping[str, Any]) -> Sequence[str]:
    until = formatting.instant(gap["until_us"]) if gap["until_us"] else "still open"
    found = f"{gap['differences']} differences" if gap["differences"] else gap["certainty"]
    return gap["label"], gap["reason"], f"{formatting.instant(gap['since_us'])} to {until}", found


def _age(scope: Mapping[str, Any]) -> str:
    return (
        f"confirmed {formatting.duration(time.time() - scope['position_us'] / 1e6)} ago" if scope["position_us"] else ""
    )


def _deliveries(counted: Sequence[Values], none: str) -> Iterator[str]:
    states = ("ready", "waiting", "queued", "in_flight", "failed", "delivered", "discarded")
    for one in counted:
        yield from _section(f"deliveries to {one['endpoint']}", ((state, str(one[state])) for state in states))
        if one["oldest_us"]:
            yield f"  the oldest pending delivery is {formatting.duration(time.time() - one['oldest_us'] / 1e6)} old"
    if not counted:
        yield from _section("deliveries", (), none=none)


def _tokens(endpoints: Sequence[Values]) -> Iterator[str]:
    """Yield when the tokens that were obtained for endpoints expire."""
    for one in endpoints:
        if one.get("token_expires"):
            yield f"  the token of {one['endpoint']} expires at {one['token_expires']}"


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
