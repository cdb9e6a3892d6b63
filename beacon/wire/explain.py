"""The story of one object, as the ledger knows it: what was seen, what was told, and what was answered."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain(verb.Request["Explanation"]):
    """Ask for the latest events of an object, named by `target` (its UID, or an event's id) or by kind and name.

    `kind` is compared without regard to case. `before` is the sequence that the answer before gave; 0: from the latest.
    """

    target: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedObject:
    """What the ledger holds of an object. `current`: the rule that it was judged by last is the configured one."""

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
    """One request that was made for a delivery, and its answer."""

    generation: int
    number: int
    started_us: int
    duration_us: int
    code: str
    status: int
    error: str
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EmittedEvent:
    """An event with its delivery and the latest attempts at it.

    `behind` is the id of the event that goes first, "" when nothing is in the way or it is not known. `deaths` counts
    the notifier's deaths for which the event is suspected: it is sent last and alone.
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
    state: model.DeliveryState
    generation: int
    counted: int
    requests: int
    next_attempt_us: int
    settled_us: int
    reason: str
    behind: str
    attempts: tuple[RecordedAttempt, ...]
    deaths: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveringScope:
    """A configured scope that covers the object's kind and namespace, and what it asks for. No values mean any."""

    label: str
    group: str
    listed: bool
    excluded: bool
    selects: bool
    annotation: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(verb.Reply):
    """The latest of an object's events first; `before` is where to go on while `more`.

    `kinds` are those that the configuration watches. `known` is false when `target` is nothing that the ledger holds.
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


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("explain", Explain, Explanation, verb.VerbKind.READ),)
