"""The state of each endpoint in a snapshot, and which endpoints a scrape shows. Pure.

The ledger knows what an operator did (removed, paused) and which endpoints are parked, the notifier how an endpoint
answers. What an operator did comes first: nothing is sent to a removed or paused endpoint, so that its last answer is
out of date. A parked endpoint that goes down stays parked.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from beacon import wire
from beacon.exporter import snapshot
from beacon.runtime import run_directory

REMOVED_SHOWN = 32  # removed endpoints in a scrape; names that come and go must not add series without limit


class State(StrEnum):
    """The states of an endpoint; at any time it has one of them."""

    UNKNOWN = "unknown"  # it has not answered since the notifier started
    UP = "up"
    DOWN = "down"
    FAULTY = "faulty"  # an unexpected error of Beacon while talking to it
    PARKED = "parked"  # it refuses everything, and gets only probes
    PAUSED = "paused"  # by an operator
    REMOVED = "removed"  # not configured any more; its open and failed deliveries are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """The state of one endpoint; `since` is a Unix time, 0 if unknown."""

    endpoint: str
    state: State
    since: float


def shown(statistics: wire.Statistics) -> tuple[wire.EndpointStatistics, ...]:
    """Return the endpoints that a scrape shows: all configured ones, and at most 32 removed ones.

    Removed ones with open or failed deliveries come first, since an operator has to decide on these, then the latest.
    """
    removed = [one for one in statistics.endpoints if one.removed_us]
    latest = sorted(removed, key=lambda one: (_is_unfinished(one), one.removed_us), reverse=True)
    return (*(one for one in statistics.endpoints if not one.removed_us), *latest[:REMOVED_SHOWN])


def states(seen: snapshot.Snapshot, known: Iterable[wire.EndpointStatistics]) -> Iterator[EndpointState]:
    """Yield the state of each of the given endpoints."""
    reports: dict[str, run_directory.Report] = {}
    for report in seen.reports_of("notifier"):
        if report.component == "endpoint":
            reports.setdefault(str(report.fields.get("endpoint", "")), report)
    for one in known:
        yield _state(one, reports)


def _state(one: wire.EndpointStatistics, reports: Mapping[str, run_directory.Report]) -> EndpointState:
    if one.removed_us:
        return EndpointState(endpoint=one.endpoint, state=State.REMOVED, since=one.removed_us / 1e6)
    if one.paused_us:
        return EndpointState(endpoint=one.endpoint, state=State.PAUSED, since=one.paused_us / 1e6)
    if one.parked_us:
        return EndpointState(endpoint=one.endpoint, state=State.PARKED, since=one.parked_us / 1e6)
    report = reports.get(one.endpoint)
    if report is None or report.state not in set(State):
        return EndpointState(endpoint=one.endpoint, state=State.UNKNOWN, since=0.0)
    since = datetime.fromisoformat(report.since).timestamp()
    return EndpointState(endpoint=one.endpoint, state=State(report.state), since=since)


def _is_unfinished(one: wire.EndpointStatistics) -> bool:
    return any((one.ready, one.waiting, one.queued, one.in_flight, one.failed))
