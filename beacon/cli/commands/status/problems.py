"""Finds the problems in a snapshot of `beacon status`: at least those of `/ready`, and more. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from beacon.cli import formatting
from beacon.cli.commands.status import endpoints
from beacon.domain import model
from beacon.runtime import heartbeat, supervision

_RECENT_S = 600  # a process that ended in this time may be in a crash loop
# The thresholds of the alerts.
_STALE_S, _LATE_S, _COMPARED_S = 300, 300, 3600
_GAP_RECENT_S, _LONG_GAP_RECENT_S, _LONG_GAP_S = 1800, 3600, 600
_HARMLESS_GAPS = {model.GapReason.FIRST_LIST, model.GapReason.CONFIGURATION}
_GAPS_OF_LEDGER = {model.GapReason.DAMAGED, model.GapReason.RESTORED}
_HEALTHY = {"watching", "waiting"}
_ALIVE = {supervision.ProgramState.STARTING, supervision.ProgramState.RUNNING}

Values = Mapping[str, Any]


def find(snapshot: Values, *, now_us: int) -> list[str]:
    """Return a sentence for each problem; the components that only `/ready` finds come last."""
    found = [f"store: {snapshot['store']['why']}"] if snapshot["store"]["why"] else []
    for process in snapshot["processes"]:
        found += _of_process(process)
    found += [sentence for one in snapshot.get("endpoints", ()) if (sentence := endpoints.sentence(one))]
    for part in snapshot["components"]:
        found += _of_component(part, snapshot)
        found += _of_upkeep(part, now_us)
    found += _of_scopes(snapshot)
    found += _of_ages(snapshot, now_us)
    found += _of_gaps(snapshot["gaps"], now_us)
    several = len(snapshot["deliveries"]) > 1
    found += [
        _failure(one, several=several)
        for one in snapshot["deliveries"]
        if one["failed"] and not one.get("removed_us")  # which has a sentence of its own
    ]
    found += [_unreadable(part) for part in snapshot["components"] if part.get("unreadable")]
    found += [_suspicion(suspect) for one in snapshot["deliveries"] for suspect in one["suspects"]]
    return [*found, *_of_ready(snapshot["ready"], found)] if not snapshot["store"]["why"] else found


def _of_process(process: Values) -> list[str]:
    name, ended_s = process["name"], process["ended_s"]
    if process["state"] not in _ALIVE:
        return [f"{name}: {process['state']} {process['why']}".rstrip()]
    found = []
    if process["slowest_beat_s"] > heartbeat.HUNG_S:
        found.append(f"{name}: a thread has had no heartbeat for {process['slowest_beat_s']:.0f} s")
    if ended_s is not None and 0 <= ended_s < _RECENT_S:
        found.append(f"{name}: restarted, it ended {formatting.duration(ended_s)} ago; see its log")
    return found


def _of_component(part: Values, snapshot: Values) -> list[str]:
    if part["component"].startswith("scope."):
        return _of_stream(part, snapshot)
    if part["component"] == "claim" and part["state"] != "claiming":
        return [f"notifier: {part['state']}"] if not _is_faulty(part, snapshot) else []
    return []


def _is_faulty(claim: Values, snapshot: Values) -> bool:
    """Return True if the endpoint of a claim is faulty, which has a sentence of its own."""
    name = claim.get("endpoint", "")
    return any(one["state"] == "faulty" and one["endpoint"] == name for one in snapshot.get("endpoints", ()))


def _of_stream(part: Values, snapshot: Values) -> list[str]:
    """Describe a scope that is not watched; waiting is healthy until its first list has ended."""
    known = {scope["name"] for scope in snapshot["scopes"] if scope["position_us"]}
    name, reason = part["component"].removeprefix("scope."), part.get("reason", "")
    label = part.get("scope", name)
    if part["state"] == "waiting" and (part.get("listed") or name in known):
        return [f"{label}: waiting, although it was watched before: {reason}"]
    return [] if part["state"] in _HEALTHY else [f"{label}: {part['state']} {reason}".rstrip()]


def _of_scopes(snapshot: Values) -> Iterator[str]:
    """Describe the ledger's scopes that have no complete list, or that no living watcher reports."""
    states = {part["component"]: part["state"] for part in snapshot["components"]}
    watching = not any(one["name"] == "watcher" and not one["pid"] for one in snapshot["processes"])
    for scope in snapshot["scopes"]:
        state = states.get(f"scope.{scope['name']}", "")
        if not state and watching:
            yield f"{scope['label']}: the watcher has not reported this scope"
        elif not scope["listed"] and state in ("", "watching"):
            yield f"{scope['label']}: not listed"


def _of_upkeep(part: Values, now_us: int) -> Iterator[str]:
    """Describe a volume that fills up, late backups, and comparisons that have not succeeded for long."""
    reason = part.get("reason", "")
    if part["component"] == "backup":
        yield from _of_backups(part, now_us)
    if part["component"] == "storage" and part["state"] in ("warning", "critical"):
        yield f"storage: {part['state']}: {reason}"
    if part["component"].startswith("reconcile.") and part["state"] in ("failed", "inconclusive"):
        since_us = int(datetime.fromisoformat(part["since"]).timestamp() * 1e6)
        age_s = (now_us - max(part.get("done_us", 0), since_us)) / 1e6
        if age_s > _COMPARED_S:
            label = part.get("scope", part["component"])
            yield f"reconciler: {label} was last compared {formatting.duration(age_s)} ago: {part['state']}: {reason}"


def _of_backups(part: Values, now_us: int) -> Iterator[str]:
    """Describe a backup that failed, and one that is late; the alert fires at the same age."""
    age_s = (now_us - part["made_us"]) / 1e6
    newest = f"the newest is {formatting.duration(age_s)} old" if part["made_us"] else "there is none"
    if part["state"] == "failed":
        yield f"backup: failed: {part['reason']}; {newest}"
    elif part["made_us"] and age_s > 2 * part["interval_s"]:
        yield f"backup: late: {newest}"


def _of_ages(snapshot: Values, now_us: int) -> Iterator[str]:
    """Describe what makes no progress."""
    for scope in snapshot["scopes"]:
        age_s = (now_us - scope["position_us"]) / 1e6
        if scope["position_us"] and age_s > _STALE_S:
            yield f"{scope['label']}: its position was last confirmed {formatting.duration(age_s)} ago"
    for one in snapshot["deliveries"]:
        age_s = (now_us - one["oldest_us"]) / 1e6
        if any(one.get(halt) for halt in ("parked_us", "paused_us", "removed_us")):
            continue  # which has a sentence of its own
        if one["oldest_us"] and age_s > _LATE_S:
            yield f"endpoint {one['endpoint']}: the oldest pending delivery is {formatting.duration(age_s)} old"


def _of_gaps(gaps: Sequence[Values], now_us: int) -> Iterator[str]:
    """Describe recent gaps in which changes were found, long ones, and those of a damaged or restored ledger."""
    for gap in gaps:
        ended_s = (now_us - gap["until_us"]) / 1e6
        if not gap["until_us"] or gap["reason"] in _HARMLESS_GAPS or ended_s > _LONG_GAP_RECENT_S:
            continue
        length_s = (gap["until_us"] - gap["since_us"]) / 1e6 if gap["since_us"] else 0.0
        found = bool(gap["differences"]) and ended_s <= _GAP_RECENT_S
        if found or length_s > _LONG_GAP_S or gap["reason"] in _GAPS_OF_LEDGER:
            yield (
                f"{gap['label']}: a gap ({gap['reason']}) of {formatting.duration(length_s)} ended"
                f" {formatting.duration(ended_s)} ago with {gap['differences']} differences"
            )


def _of_ready(ready: Values, found: list[str]) -> Iterator[str]:
    """Describe the components that `/ready` reports as not ok, except those that another sentence describes."""
    if ready["ok"] is None:
        yield f"exporter: {ready['why']}"
    for name, check in ready["checks"].items():
        if not check["ok"] and not any(sentence.startswith((f"{name}: ", f"{name} ")) for sentence in found):
            yield f"{name}: {check['state']}: {check['why']}".rstrip(": ")


def _failure(one: Values, *, several: bool = False) -> str:
    """Describe the failed deliveries to an endpoint by code, and the next commands."""
    chosen = f" --endpoint {one['endpoint']}" if several else ""
    by_code = dict(one["failed_by_code"])
    if (others := one["failed"] - sum(by_code.values())) > 0:
        by_code["other"] = others
    codes = ", ".join(f"{number} with {code or 'no response'}" for code, number in by_code.items())
    return (
        f"endpoint {one['endpoint']}: {one['failed']} failed ({codes}); see beacon events --state failed{chosen}, and"
        f" then beacon redeliver --state failed{chosen} or beacon discard{chosen}"
    )


def _suspicion(suspect: Values) -> str:
    """Describe a delivery that may terminate the notifier, and the next command."""
    name = "/".join(part for part in (suspect["kind"], suspect["namespace"], suspect["name"]) if part)
    return (
        f"delivery {suspect['delivery']} of {name} (event {suspect['event']}): in flight when the notifier last"
        f" terminated ({suspect['deaths']} times), sent alone after {formatting.instant(suspect['not_before_us'])};"
        f" see beacon explain {suspect['event']}"
    )


def _unreadable(part: Values) -> str:
    """Describe the unreadable objects of a scope."""
    objects = "1 object" if part["unreadable"] == 1 else f"{part['unreadable']} objects"
    return f"{part['scope']}: {objects} cannot be read: {'; '.join(part['unreadable_objects'])}"
