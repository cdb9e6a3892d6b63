"""Liveness and readiness: pure functions from a snapshot to checks, each with its reason.

Live means that a pod restart would not help. Ready means that every change in the cluster will be delivered. An
endpoint that is down affects neither, because Beacon waits for it. Its check is shown but not required, like those of
components that only maintain the ledger.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from beacon import wire
from beacon.domain import instants
from beacon.exporter import snapshot
from beacon.runtime import heartbeat, run_directory, supervision

_REOPENING_S = 10.0  # how long reopening a watch may take
_UNHEALTHY_ENDPOINT = ("down", "faulty", "parked")
_OPEN = ("ready", "waiting", "queued", "in_flight")
_WORKERS = ("store", "watcher", "notifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The state of one component; `since` is RFC 3339, "" if unknown; `details` holds further values."""

    ok: bool
    state: str
    why: str = ""
    since: str = ""
    required: bool = True
    details: Mapping[str, object] = field(default_factory=dict)
    scopes: Mapping[str, "Check"] | None = None
    endpoints: Mapping[str, "Check"] | None = None


Checks = dict[str, Check]


class History:
    """Records when each check entered its state, for checks without a `since` of their own."""

    def __init__(self) -> None:
        """Create an empty history."""
        self._since: dict[str, tuple[bool, str, str]] = {}

    def stamp(self, checks: Checks, now: float) -> Checks:
        """Return the checks with `since` filled in, as far as observed."""
        return {name: self._stamped(name, check, now) for name, check in checks.items()}

    def _stamped(self, name: str, check: Check, now: float) -> Check:
        if check.since:
            self._since.pop(name, None)
            return check
        ok, state, since = self._since.get(name, (None, "", ""))
        if (ok, state) != (check.ok, check.state):
            since = _instant(now)
            self._since[name] = (check.ok, check.state, since)
        return replace(check, since=since)


def liveness(seen: snapshot.Snapshot) -> Checks:
    """Check that supervisord answers, and that no process is FATAL or hangs."""
    checks = {"supervisor": _supervisor(seen)}
    for name, program in seen.programs.items():
        if program.state is supervision.ProgramState.FATAL:
            checks[name] = Check(ok=False, state="fatal", why=program.why or "supervisord gave the process up")
        else:
            checks[name] = _hung(seen, name) or Check(ok=True, state=program.state.lower())
    return checks | {"endpoint": replace(_endpoint(seen), required=False)}


def readiness(seen: snapshot.Snapshot, *, scopes: int) -> Checks:
    """Check that all `scopes` are watched, and their changes stored and delivered."""
    checks = {name: _process(seen, name) for name in _WORKERS}
    if checks["store"].ok:
        checks["store"] = _store(seen)
    if checks["watcher"].ok:
        checks["watcher"] = _watcher(seen, scopes)
    if checks["notifier"].ok:
        checks["notifier"] = _notifier(seen)
    checks |= {"supervisor": _supervisor(seen), "exporter": Check(ok=True, state="running")}
    return checks | {name: replace(check, required=False) for name, check in _not_required(seen).items()}


def passed(checks: Checks) -> bool:
    """Return True if all required checks pass."""
    return all(check.ok for check in checks.values() if check.required)


def plain(checks: Checks) -> dict[str, Any]:
    """Return checks as plain values for JSON."""
    return {name: _plain(check) for name, check in checks.items()}


def _plain(check: Check) -> dict[str, object]:
    values = {"ok": check.ok, "required": check.required, "state": check.state, "since": check.since, "why": check.why}
    values |= check.details
    parts = {"scopes": check.scopes, "endpoints": check.endpoints}
    return values | {name: plain(dict(each)) for name, each in parts.items() if each is not None}


def _supervisor(seen: snapshot.Snapshot) -> Check:
    if seen.supervisor_error:
        return Check(ok=False, state="silent", why=seen.supervisor_error)
    return Check(ok=True, state="answering")


def _process(seen: snapshot.Snapshot, name: str) -> Check:
    program = seen.programs.get(name)
    if program is None:
        return Check(ok=False, state="absent", why=f"there is no process {name}")
    if not program.alive or program.state is supervision.ProgramState.STOPPING:
        return Check(ok=False, state=program.state.lower(), why=program.why or f"the {name} is not running")
    return _hung(seen, name) or Check(ok=True, state="running")


def _hung(seen: snapshot.Snapshot, name: str) -> Check | None:
    oldest = max(seen.beats_of(name), key=lambda beat: beat.age_s, default=None)
    if oldest is None or oldest.age_s <= heartbeat.HUNG_S:
        return None
    why = f"its thread {oldest.thread!r} has not moved for {oldest.age_s:.0f} s"
    return Check(ok=False, state="hung", why=why)


def _store(seen: snapshot.Snapshot) -> Check:
    since = _instant(seen.store.since_us / 1e6) if seen.store.since_us else ""
    served = seen.store.statistics is not None
    details = {"round_trip_ms": round(seen.store.round_trip_s * 1000, 3)} if served else {}
    return Check(ok=served, state=seen.store.state, why=seen.store.why, since=since, details=details)


def _watcher(seen: snapshot.Snapshot, scopes: int) -> Check:
    reports = [report for report in seen.reports_of("watcher") if report.component.startswith("scope.")]
    found = {report.component.removeprefix("scope."): _scope(seen, report) for report in reports}
    unhealthy = {name: check for name, check in found.items() if not check.ok}
    if unhealthy:
        why = "; ".join(f"{name}: {check.state}" for name, check in unhealthy.items())
        return Check(ok=False, state="incomplete", why=why, scopes=found)
    if len(found) < scopes:
        why = f"{len(found)} of {scopes} scopes have started"
        return Check(ok=False, state="starting", why=why, scopes=found)
    return Check(ok=True, state="watching", scopes=found)


def _scope(seen: snapshot.Snapshot, report: run_directory.Report) -> Check:
    why, position = str(report.fields.get("reason", "")), _position(seen, report)
    check = Check(ok=False, state=report.state, why=why, since=report.since, details=position)
    if report.state == "waiting":
        return replace(check, ok=True)
    if report.state == "opening":
        age_s = seen.now - datetime.fromisoformat(report.since).timestamp()
        return replace(check, ok=bool(report.fields.get("listed")) and age_s < _REOPENING_S)
    if report.state != "watching":
        return check
    if not _listed(seen, str(report.fields.get("scope", ""))):
        return replace(check, why=check.why or "its initial list is not complete")
    return replace(check, ok=True)


def _listed(seen: snapshot.Snapshot, label: str) -> bool:
    """Return True if the store, too, has this scope as listed, or does not answer."""
    found = _followed(seen, label)
    return seen.store.statistics is None or (found is not None and found.listed)


def _position(seen: snapshot.Snapshot, report: run_directory.Report) -> dict[str, object]:
    """Return the store's state of a scope: whether its list is complete, and the age of its position."""
    found = _followed(seen, str(report.fields.get("scope", "")))
    if found is None:
        return {}
    age = {"position_age_s": round(max(0.0, seen.now - found.position_us / 1e6), 3)} if found.position_us else {}
    return {"listed": found.listed, **age}


def _followed(seen: snapshot.Snapshot, label: str) -> wire.ScopeStatistics | None:
    scopes = seen.store.statistics.scopes if seen.store.statistics else ()
    return next((scope for scope in scopes if scope.label == label), None)


def _notifier(seen: snapshot.Snapshot) -> Check:
    """Check that the notifier has an answered claim, and that the store, perhaps restarted, has recorded one.

    An endpoint that is paused after an error does not count, not even the only one: its check shows it as faulty.
    """
    reports = [report for report in seen.reports_of("notifier") if report.component == "claim"]
    served = [report for report in reports if not report.state.startswith("paused")]
    if reports and not served:
        return Check(ok=True, state=reports[0].state, since=max(report.since for report in reports))
    waiting = [report for report in served if report.state != "claiming"]
    unknown = seen.store.statistics is not None and not seen.store.statistics.claimed_us
    if not served or waiting or unknown:
        why = "the store has not answered a claim of the notifier yet"
        return Check(ok=False, state=(waiting or served)[0].state if served else "starting", why=why)
    return Check(ok=True, state=served[0].state, since=max(report.since for report in served))


def _not_required(seen: snapshot.Snapshot) -> Checks:
    """Return the checks of components that delivery does not depend on."""
    reconciler = _process(seen, "reconciler")
    checks = {"reconciler": reconciler, "cleaner": reconciler, "storage": reconciler}
    if reconciler.ok:
        checks["cleaner"] = _part(seen, "reconciler", "cleaner", unhealthy="failed")
        checks["storage"] = _part(seen, "reconciler", "storage", unhealthy="unknown")
        if any(report.component == "backup" for report in seen.reports_of("reconciler")):
            checks["backup"] = _part(seen, "reconciler", "backup", unhealthy="failed")
    return checks | {"endpoint": _endpoint(seen)}


def _endpoint(seen: snapshot.Snapshot) -> Check:
    """Return the check of the only endpoint, or of all of them with each by its name."""
    notifier = _process(seen, "notifier")
    if not notifier.ok:
        return notifier
    found: dict[str, Check] = {}
    for report in seen.reports_of("notifier"):
        if report.component == "endpoint":
            found.setdefault(str(report.fields.get("endpoint", "")), _reported(report, _UNHEALTHY_ENDPOINT))
    if not found:
        return Check(ok=False, state="starting", why="no report yet")
    found |= _halted(seen)
    if len(found) == 1:
        return next(iter(found.values()))
    named = {name: replace(check, required=False) for name, check in sorted(found.items())}
    unhealthy = {name: check for name, check in named.items() if not check.ok}
    why = "; ".join(f"{name}: {check.state}" for name, check in unhealthy.items())
    state = f"{len(unhealthy)} of {len(named)} unhealthy" if unhealthy else "served"
    return Check(ok=not unhealthy, state=state, why=why, endpoints=named)


def _halted(seen: snapshot.Snapshot) -> Checks:
    """Return the checks of the endpoints that are parked, paused, or removed with deliveries that are not over."""
    checks: Checks = {}
    for one in seen.store.statistics.endpoints if seen.store.statistics else ():
        if one.removed_us:
            open_ = sum(getattr(one, state) for state in _OPEN)
            if open_ or one.failed:
                why = f"it is not configured any more, and has {open_} open and {one.failed} failed deliveries"
                checks[one.endpoint] = Check(ok=False, state="removed", why=why, since=_instant(one.removed_us / 1e6))
        elif one.paused_us:
            why = f"paused by an operator: {one.paused_reason}" if one.paused_reason else "paused by an operator"
            checks[one.endpoint] = Check(ok=False, state="paused", why=why, since=_instant(one.paused_us / 1e6))
        elif one.parked_us:
            why = f"it refuses every event ({one.parked_cause}), and gets only probes until it accepts one"
            checks[one.endpoint] = Check(ok=False, state="parked", why=why, since=_instant(one.parked_us / 1e6))
    return checks


def _part(seen: snapshot.Snapshot, process: str, component: str, *, unhealthy: str) -> Check:
    """Return the check for the last report of a component of a running process."""
    report = next((report for report in seen.reports_of(process) if report.component == component), None)
    if report is None:
        return Check(ok=False, state="starting", why="no report yet")
    return _reported(report, (unhealthy,))


def _reported(report: run_directory.Report, unhealthy: Collection[str]) -> Check:
    details = {name: report.fields[name] for name in ("breaker",) if name in report.fields}
    why = str(report.fields.get("reason", ""))
    return Check(ok=report.state not in unhealthy, state=report.state, why=why, since=report.since, details=details)


def _instant(seconds: float) -> str:
    return instants.rfc3339(int(seconds * 1_000_000))
