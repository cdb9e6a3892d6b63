"""The statistics of a ledger, for the exporter and the CLI."""

from collections.abc import Mapping
from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect(verb.Request["Statistics"]):
    """Ask for the statistics that the exporter shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeStatistics:
    """The position of one scope. `listed` is false until its first list has ended, and during a list.

    `label` contains the resource's plural as soon as it is known, `name` always the configured kind. `position_us` is 0
    if the scope has never been listed.
    """

    label: str
    listed: bool
    position: int
    position_us: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectedDelivery:
    """A delivery in flight at the last `deaths` terminations of the notifier; sent alone, from `not_before_us`."""

    delivery: int
    event: str
    kind: str
    namespace: str
    name: str
    deaths: int
    not_before_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """Counts of one endpoint's deliveries; `oldest_us` is the commit instant of the oldest open one (0: none).

    `suspects` are open deliveries that may terminate the notifier, at most 20; `suspected` is their total. `paused_us`
    and `removed_us` are 0 while it is neither; `paused_by` and `paused_reason` are the operator's. `catching_up`: it is
    still compared after a change of the configuration.
    `parked_us` is 0 while it is not parked, else since when, with the cause.
    """

    endpoint: str
    ready: int
    waiting: int
    queued: int
    in_flight: int
    failed: int
    delivered: int
    discarded: int
    oldest_us: int
    suspected: int = 0
    suspects: tuple[SuspectedDelivery, ...] = ()
    paused_us: int = 0
    paused_by: str = ""
    paused_reason: str = ""
    removed_us: int = 0
    catching_up: bool = False
    parked_us: int = 0
    parked_cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapStatistics:
    """An interval in which a scope was not watched; `until_us` 0: it is open, `since_us` 0: the start is unknown."""

    label: str
    reason: model.GapReason
    since_us: int
    until_us: int
    differences: int
    certainty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics(verb.Reply):
    """Reply with the current statistics of the ledger.

    `tracked` counts tracked objects by kind, `rows` rows by `table/state`; `gaps` are the latest, newest first.
    """

    scopes: tuple[ScopeStatistics, ...]
    endpoints: tuple[EndpointStatistics, ...]
    tracked: Mapping[str, int]
    rows: Mapping[str, int]
    database_bytes: int
    wal_bytes: int
    sqlite_version: str
    claimed_us: int
    gaps: tuple[GapStatistics, ...] = ()


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("inspect", Inspect, Statistics, verb.VerbKind.READ),)
