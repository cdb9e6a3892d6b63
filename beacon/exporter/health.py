"""Whether Beacon lives and whether it is ready: pure functions from a view to checks, each with its reason.

Live means that a restart of the pod would not help; ready means that every change in the cluster will be told. An
endpoint that is down is neither's concern: waiting for it is what Beacon is for. It is said all the same, as are the
components that only keep the ledger true and small: their checks are not required.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from beacon import wire
from beacon.domain import instants
from beacon.exporter import snapshot
from beacon.runtime import heartbeat, run_directory, supervision

_REOPENING_S = 10.0  # how long a watch that was open may take to be opened anew
_WORKERS = ("store", "watcher", "notifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The state of one component; `since` is RFC 3339, "" when it isn't known; `details` is what else is known."""

    ok: bool
    state: str
    why: str = ""
    since: str = ""
    required: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)
    scopes: Mapping[str, "Check"] | None = None


Checks = dict[str, Check]


class History:
    """Remembers since when a check has been as it is, for those that don't know it themselves."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._since: dict[str, tuple[bool, str, str]] = {}

    def stamp(self, checks: Checks, now: float) -> Checks:
        """Fill in when each check came to its state, as far as was seen."""
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
    """Check that supervisord answers and that no process is given up or hangs."""
    checks = {"supervisor": _supervisor(seen)}
    for name, program in seen.programs.items():
        if program.state is supervision.ProgramState.FATAL:
            checks[name] = Check(ok=False, state="fatal", why=program.why or "supervisord has given it up")
        else:
            checks[name] = _hung(seen, name) or Check(ok=True, state=program.state.lower())
    return checks


def readiness(seen: snapshot.Snapshot, *, scopes: int) -> Checks:
    """Check that every one of so many scopes is followed, written down and delivered."""
    checks = {name: _process(seen, name) for name in _WORKERS}
    if checks["store"].ok:
        checks["store"] = _store(seen)
    if checks["watcher"].ok:
        checks["watcher"] = _watcher(seen, scopes)
    if checks["notifier"].ok:
        checks["notifier"] = _notifier(seen)
    checks |= {"supervisor": _supervisor(seen), "exporter": Check(ok=True, state="running")}
    return checks | {name: replace(check, required=False) for name, check in _beside(seen).items()}


def passed(checks: Checks) -> bool:
    """Say whether all checks that are required are well."""
    return all(check.ok for check in checks.values() if check.required)


def plain(checks: Checks) -> dict[str, Any]:
    """Render checks as plain values."""
    return {name: _plain(check) for name, check in checks.items()}


def _plain(check: Check) -> dict[str, Any]:
    said = {"ok": check.ok, "required": check.required, "state": check.state, "since": check.since, "why": check.why}
    said |= check.details
    return said if check.scopes is None else {**said, "scopes": plain(dict(check.scopes))}


def _supervisor(seen: snapshot.Snapshot) -> Check:
    if seen.supervisor_why:
        return Check(ok=False, state="silent", why=seen.supervisor_why)
    return Check(ok=True, state="answering")


def _process(seen: snapshot.Snapshot, name: str) -> Check:
    program = seen.programs.get(name)
    if program is None:
        return Check(ok=False, state="absent", why=f"no process {name} runs here")
    if not program.alive or program.state is supervision.ProgramState.STOPPING:
        return Check(ok=False, state=program.state.lower(), why=program.why or f"the {name} does not run")
    return _hung(seen, name) or Check(ok=True, state="running")


def _hung(seen: snapshot.Snapshot, name: str) -> Check | None:
    oldest = max(seen.beats_of(name), key=lambda beat: beat.age_s, default=None)
    if oldest is None or oldest.age_s <= heartbeat.HUNG_S:
        return None
    why = f"its thread {oldest.thread!r} has not moved for {oldest.age_s:.0f} s"
    return Check(ok=False, state="hung", why=why)


def _store(seen: snapshot.Snapshot) -> Check:
    since = _instant(seen.store.since_us / 1e6) if seen.store.since_us else ""
    served = seen.store.figures is not None
    details = {"round_trip_ms": round(seen.store.round_trip_s * 1000, 3)} if served else {}
    return Check(ok=served, state=seen.store.state, why=seen.store.why, since=since, details=details)


def _watcher(seen: snapshot.Snapshot, scopes: int) -> Check:
    reports = [report for report in seen.reports_of("watcher") if report.component.startswith("scope.")]
    found = {report.component.removeprefix("scope."): _scope(seen, report) for report in reports}
    ill = {name: check for name, check in found.items() if not check.ok}
    if ill:
        why = "; ".join(f"{name}: {check.state}" for name, check in ill.items())
        return Check(ok=False, state="incomplete", why=why, scopes=found)
    if len(found) < scopes:
        why = f"{len(found)} of {scopes} scopes have begun"
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
        return replace(check, why=check.why or "its list has not ended yet")
    return replace(check, ok=True)


def _listed(seen: snapshot.Snapshot, label: str) -> bool:
    """Say whether the store, too, knows this scope as listed; nothing speaks against it while the store is silent."""
    found = _followed(seen, label)
    return seen.store.figures is None or (found is not None and found.listed)


def _position(seen: snapshot.Snapshot, report: run_directory.Report) -> dict[str, Any]:
    """Say what the store has of a scope: whether its list has ended, and how old its position is."""
    found = _followed(seen, str(report.fields.get("scope", "")))
    if found is None:
        return {}
    age = {"position_age_s": round(max(0.0, seen.now - found.position_us / 1e6), 3)} if found.position_us else {}
    return {"listed": found.listed, **age}


def _followed(seen: snapshot.Snapshot, label: str) -> wire.ScopeStatistics | None:
    scopes = seen.store.figures.scopes if seen.store.figures else ()
    return next((scope for scope in scopes if scope.label == label), None)


def _notifier(seen: snapshot.Snapshot) -> Check:
    """The notifier says that the store has answered its claim, and the store, started anew perhaps, knows of one."""
    said = next((report for report in seen.reports_of("notifier") if report.component == "claim"), None)
    unknown = seen.store.figures is not None and not seen.store.figures.claimed_us
    if said is None or said.state != "claiming" or unknown:
        return Check(ok=False, state=said.state if said else "starting", why="no claim of it has been answered yet")
    return Check(ok=True, state=said.state, since=said.since)


def _beside(seen: snapshot.Snapshot) -> Checks:
    """Check what every change is told without."""
    reconciler = _process(seen, "reconciler")
    checks = {"reconciler": reconciler, "cleaner": reconciler, "storage": reconciler}
    if reconciler.ok:
        checks["cleaner"] = _part(seen, "reconciler", "cleaner", ill="failed")
        checks["storage"] = _part(seen, "reconciler", "storage", ill="unknown")
    notifier = _process(seen, "notifier")
    checks["endpoint"] = _part(seen, "notifier", "endpoint", ill="down") if notifier.ok else notifier
    return checks


def _part(seen: snapshot.Snapshot, process: str, component: str, *, ill: str) -> Check:
    """Check what a component of a living process said last."""
    said = next((report for report in seen.reports_of(process) if report.component == component), None)
    if said is None:
        return Check(ok=False, state="starting", why="it has said nothing yet")
    details = {name: said.fields[name] for name in ("breaker",) if name in said.fields}
    why = str(said.fields.get("reason", ""))
    return Check(ok=said.state != ill, state=said.state, why=why, since=said.since, details=details)


def _instant(seconds: float) -> str:
    return instants.rfc3339(int(seconds * 1_000_000))
