"""What keeps a ledger small and safe: cleaning, adopting another cluster, copying."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from beacon.wire import verb


class Prunable(StrEnum):
    """What the cleaner walks through."""

    OBJECTS = "objects"  # objects that are gone, with their events, deliveries and attempts
    EVENTS = "events"  # settled events of objects that are still there, but the latest
    ATTEMPTS = "attempts"  # the record of single requests
    GAPS = "gaps"  # the record of gaps that were closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(verb.Request["Pruned"]):
    """Remove a few rows that are older than that and that nothing needs: the store decides which.

    `after` is the place in the table that the reply before gave. `survey`: only count what may go.
    """

    table: Prunable
    older_than_s: float
    after: tuple[int, str] = (0, "")
    survey: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned(verb.Reply):
    """How many rows went (with `survey`: may go), by table, and where to go on; `oldest_us` is the oldest, 0: none."""

    rows: Mapping[str, int]
    after: tuple[int, str]
    more: bool
    oldest_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuum(verb.Request["Vacuumed"]):
    """Give a few free pages of the file back to the volume; the last step writes the log back, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed(verb.Reply):
    """How many pages were given back, and whether there are more."""

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
    """The cluster to follow, and the one before; `changed` is false if the ledger is bound to `cluster` already."""

    cluster: str
    changed: bool
    previous: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup(verb.Request["BackedUp"]):
    """Copy some more pages of the ledger to the file `target`, an absolute path; ask again until none is left.

    The first request makes the file, which must not be there. One copy is made at a time: another target ends it.
    """

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp(verb.Reply):
    """How much of the copy is made; it is whole and closed when `left` is 0."""

    left: int
    pages: int


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("prune", Prune, Pruned, verb.VerbKind.WRITE),
    verb.Verb("vacuum", Vacuum, Vacuumed, verb.VerbKind.READ),
    verb.Verb("adopt", Adopt, Adopted, verb.VerbKind.WRITE),
    verb.Verb("backup", Backup, BackedUp, verb.VerbKind.READ),
)
