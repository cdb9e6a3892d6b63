"""The history of one object in the ledger: its state, its events, and the responses to them."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain(verb.Request["Explanation"]):
    """Ask for the latest events of an object, identified by `target` (its UID, or an event's id) or by kind and name.

    `kind` is case-insensitive. `before` is the sequence from the previous reply; 0: start at the latest event.
    """

    target: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedObject:
    """The state of an object in the ledger. `current`: it was last evaluated by the configured rule."""

    uid: str
    group: str
    kind: str
    namespace: str
    name: str
    state: model.ObjectState
    resource_version: int
    value: str
    current: bool
    changed_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """One request for a delivery, and its response."""

    generation: int
    number: int
    started_us: int
    duration_us: int
    code: str
    status: int
    error: str
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAction:
    """An action on a delivery, which began the generation or ended it; `actor` is the operator's statement, else ""."""

    generation: int
    at_us: int
    action: model.OperatorAction
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEndpoint:
    """What an endpoint has been sent about an object.

    `written` is the sequence of the last event written for it, `accepted` that of the latest that it accepted; 0: none.
    `present`: according to what was written for it, the object exists. `catching_up`: the object is still to be
    compared with what was written. `parked_us`, `paused_us` and `removed_us` are 0 while it is none of them.
    """

    name: str
    written: int
    accepted: int
    present: bool
    catching_up: bool
    paused_us: int
    paused_reason: str
    removed_us: int
    parked_us: int = 0
    parked_cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmittedEvent:
    """An event with one of its deliveries, the latest attempts, and the latest actions of operators.

    `endpoint` is "" and `state` None for an event that no endpoint gets. `alone` is the endpoint for which alone the
    event was written, by a catch-up; "" for all that select it.
    `behind` is the id of the event that must be delivered first, "" if there is none or it is unknown. `deaths` counts
    the terminations of the notifier for which the event is suspected: it is sent last and alone.
    """

    sequence: int
    id: str
    uid: str
    group: str
    kind: str
    namespace: str
    name: str
    type: str
    cause: str
    source: str
    resource_version: str
    detected_us: int
    endpoint: str
    state: model.DeliveryState | None
    generation: int
    counted: int
    requests: int
    next_attempt_us: int
    settled_us: int
    reason: str
    behind: str
    attempts: tuple[RecordedAttempt, ...]
    deaths: int = 0
    actions: tuple[RecordedAction, ...] = ()
    alone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveringScope:
    """A configured scope that covers the object's kind and namespace, and its conditions. No values mean any."""

    label: str
    group: str
    listed: bool
    excluded: bool
    selects: bool
    annotation: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(verb.Reply):
    """Reply with an object's events, the latest first, each once for each delivery; `before` continues it while `more`.

    `kinds` are the kinds that the configuration watches. `known` is false if the ledger does not contain `target`.
    """

    known: bool
    kind: str
    namespace: str
    name: str
    objects: tuple[ExplainedObject, ...]
    events: tuple[EmittedEvent, ...]
    covering: tuple[CoveringScope, ...]
    kinds: tuple[str, ...]
    before: int
    more: bool
    endpoints: tuple[ExplainedEndpoint, ...] = ()


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("explain", Explain, Explanation, verb.VerbKind.READ),)
