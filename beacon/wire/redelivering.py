"""Requests of an operator on deliveries: find, redeliver, discard; complete an id."""

from collections.abc import Mapping
from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb
from beacon.wire.delivery_filter import DeliveryFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class FindDeliveries(verb.Request["DeliveryPage"]):
    """Ask for the matching deliveries, some rows at a time; continue with the reply's `after` while `more`.

    `newest_first` reads from the latest to the oldest; `after` 0 is then the start, too.
    """

    selection: DeliveryFilter
    after: int = 0
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """A delivery and its event, for display. Instants are microseconds UTC, 0 for never.

    `restores` are the generations that began because an endpoint was parked, not with a redelivery.
    """

    delivery: int
    generation: int
    state: model.DeliveryState
    endpoint: str
    sequence: int
    event_id: str
    type: model.EventType
    cause: str
    source: str
    group: str
    kind: str
    namespace: str
    name: str
    uid: str
    detected_us: int
    attempts: int
    requests: int
    next_attempt_us: int
    settled_us: int
    code: str
    error: str
    reason: str
    restores: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage(verb.Reply):
    """Reply with some of the matching deliveries; a page may be empty although more follow."""

    deliveries: tuple[DeliverySummary, ...]
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCommand:
    """The command that a request belongs to: a random id, the actor, and how many deliveries follow in later requests.

    `actor` is what the caller states about itself.
    """

    id: str = ""
    actor: str = ""
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver(verb.Request["ActionResult"]):
    """Send deliveries again: pairs of id and generation, as they were found.

    The store processes some of them per request, in order. A pair that was already redelivered counts as done.
    """

    deliveries: tuple[tuple[int, int], ...]
    out_of_order: bool = False
    operation: OperatorCommand = OperatorCommand()


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard(verb.Request["ActionResult"]):
    """Discard failed deliveries for good, with a reason; pairs as for `Redeliver`."""

    deliveries: tuple[tuple[int, int], ...]
    reason: str
    operation: OperatorCommand = OperatorCommand()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardOld(verb.Request["DiscardedOld"]):
    """Discard some deliveries that failed longer ago than `older_than_s`; continue with the reply's `after`."""

    older_than_s: float
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedOld(verb.Reply):
    """Reply with the number of discarded deliveries, and the next position."""

    discarded: int
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFailed(verb.Request["FailedCounts"]):
    """Count some of an endpoint's failed deliveries by code; continue with the reply's `after` while `more`."""

    endpoint: str
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCounts(verb.Reply):
    """Reply with the number of failed deliveries by the code of the last response, and the next position."""

    counts: Mapping[str, int]
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAction:
    """A delivery for which the action was refused, and why; `event_id` is "" if the delivery no longer exists."""

    delivery: int
    event_id: str
    why: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult(verb.Reply):
    """Reply: the first `taken` pairs were processed, `done` of them successfully, the others were refused."""

    taken: int
    done: int
    refused: tuple[RefusedAction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindIds(verb.Request["FoundIds"]):
    """Ask for the ids of events, and the UIDs of objects that are not pruned, that begin with a prefix."""

    prefix: str
    events: bool = True
    objects: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundIds(verb.Reply):
    """Reply with the first few ids, in order; `more`: there are others."""

    ids: tuple[str, ...]
    more: bool


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("find", FindDeliveries, DeliveryPage, verb.VerbKind.READ),
    verb.Verb("count-failed", CountFailed, FailedCounts, verb.VerbKind.READ),
    verb.Verb("find-ids", FindIds, FoundIds, verb.VerbKind.READ),
    verb.Verb("redeliver", Redeliver, ActionResult, verb.VerbKind.WRITE, bound=True),
    verb.Verb("discard", Discard, ActionResult, verb.VerbKind.WRITE, bound=True),
    verb.Verb("discard-old", DiscardOld, DiscardedOld, verb.VerbKind.WRITE, bound=True),
)
