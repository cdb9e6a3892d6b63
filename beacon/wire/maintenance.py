"""Requests that maintain a ledger: pruning, vacuuming, binding to another cluster, backup."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from beacon.wire import verb


class Prunable(StrEnum):
    """The tables that the cleaner prunes."""

    OBJECTS = "objects"  # objects that are gone, with their events, deliveries and attempts
    EVENTS = "events"  # settled events of existing objects, except the latest
    ATTEMPTS = "attempts"  # records of single requests
    GAPS = "gaps"  # records of closed gaps
    ENDPOINTS = "endpoints"  # removed endpoints without open or failed deliveries, with their deliveries and views


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(verb.Request["Pruned"]):
    """Remove a few rows that are older than `older_than_s` and no longer needed; the store decides which.

    `after` is the position in the table from the previous reply. `survey`: only count the rows that may be removed.
    """

    table: Prunable
    older_than_s: float
    after: tuple[int, str] = (0, "")
    survey: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned(verb.Reply):
    """Reply with the removed rows (with `survey`: removable rows) by table, and the next position.

    `oldest_us` is the instant of the oldest row, 0: none.
    """

    rows: Mapping[str, int]
    after: tuple[int, str]
    more: bool
    oldest_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuum(verb.Request["Vacuumed"]):
    """Release a few free pages of the file to the volume; the last step also checkpoints the write-ahead log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed(verb.Reply):
    """Reply with the number of released pages, and whether there are more."""

    pages: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(verb.Request["Adopted"]):
    """Bind the ledger to another cluster: `cluster` is its UID, "" the one that was refused last.

    A cluster that was not refused is rejected unless `force` is set. With `check`, nothing is changed.
    """

    cluster: str = ""
    force: bool = False
    check: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted(verb.Reply):
    """Reply with the ledger's cluster and the one before; `changed` is false if it was already bound to it."""

    cluster: str
    changed: bool
    previous: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup(verb.Request["BackupProgress"]):
    """Copy some pages of the ledger to the file `target`, an absolute path; repeat until none is left.

    The first request creates the file, which must not exist. Only one copy is made at a time: another
    target ends it, but is refused while it is being continued.
    """

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupProgress(verb.Reply):
    """Reply with the progress of the copy; it is complete and closed when `left` is 0."""

    left: int
    pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportReload(verb.Request["ReloadReported"]):
    """Report that the configuration file was read again: `problems` is their number; 0: it is the one in effect."""

    problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReported(verb.Reply):
    """Acknowledge the report."""


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("prune", Prune, Pruned, verb.VerbKind.WRITE),
    verb.Verb("vacuum", Vacuum, Vacuumed, verb.VerbKind.READ),
    verb.Verb("adopt", Adopt, Adopted, verb.VerbKind.WRITE),
    verb.Verb("backup", Backup, BackupProgress, verb.VerbKind.READ),
    verb.Verb("report-reload", ReportReload, ReloadReported, verb.VerbKind.READ),
)
