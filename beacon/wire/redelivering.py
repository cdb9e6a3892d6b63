"""What an operator does to deliveries: finding them, sending them once more, giving them up."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb
from beacon.wire.delivery_filter import DeliveryFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class FindDeliveries(verb.Request["DeliveryPage"]):
    """Ask for the deliveries that are meant, some rows at a time: go on with the answer's `after` while `more`.

    `newest_first` walks from the latest to the oldest; then `after` 0 is the beginning, too.
    """

    selection: DeliveryFilter
    after: int = 0
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """A delivery and its event, as people want to see them. Instants are microseconds UTC, 0 for never."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage(verb.Reply):
    """Some of the deliveries that are meant; a page may be empty and others follow."""

    deliveries: tuple[DeliverySummary, ...]
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver(verb.Request["ActionResult"]):
    """Send deliveries once more: pairs of id and generation, as they were found.

    The store takes some of them at a time, from the front. A pair that was redelivered before is done, and left alone.
    """

    deliveries: tuple[tuple[int, int], ...]
    out_of_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard(verb.Request["ActionResult"]):
    """Give failed deliveries up for good, and say why; pairs as for `Redeliver`."""

    deliveries: tuple[tuple[int, int], ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAction:
    """A delivery with which it was not done, and why, in words; `event_id` is "" when it is not there any more."""

    delivery: int
    event_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult(verb.Reply):
    """The first `taken` pairs are dealt with: `done` of them as was asked, the others refused."""

    taken: int
    done: int
    refused: tuple[RefusedAction, ...] = ()


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("find", FindDeliveries, DeliveryPage, verb.VerbKind.READ),
    verb.Verb("redeliver", Redeliver, ActionResult, verb.VerbKind.WRITE, bound=True),
    verb.Verb("discard", Discard, ActionResult, verb.VerbKind.WRITE, bound=True),
)
