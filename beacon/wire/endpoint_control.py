"""Requests of an operator on a whole endpoint: pause, resume, discard its deliveries."""

from dataclasses import dataclass

from beacon.wire import verb
from beacon.wire.redelivering import OperatorCommand

_NO_COMMAND = OperatorCommand()


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseEndpoint(verb.Request["EndpointPaused"]):
    """Stop leasing deliveries of an endpoint until it is resumed, over restarts, too."""

    endpoint: str
    reason: str = ""
    operation: OperatorCommand = _NO_COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeEndpoint(verb.Request["EndpointPaused"]):
    """Lease deliveries of a paused or parked endpoint again, and restore what it has refused since it last accepted."""

    endpoint: str
    operation: OperatorCommand = _NO_COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPaused(verb.Reply):
    """Reply with the instant since which the endpoint is paused, 0: it is not; `changed`: by this request.

    `was_paused`: a resumption ended a pause; `parked` is the cause of the parking that it ended, `restored` the number
    of deliveries that it restored, and `left` of those that follow: as soon as a notifier has named what is in flight.
    """

    since_us: int
    changed: bool
    parked: str = ""
    restored: int = 0
    left: int = 0
    was_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardEndpoint(verb.Request["DiscardedOfEndpoint"]):
    """Discard some open and failed deliveries of a removed endpoint; continue with the reply's `after` while `more`."""

    endpoint: str
    reason: str
    after: int = 0
    operation: OperatorCommand = _NO_COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedOfEndpoint(verb.Reply):
    """Reply with the number of discarded deliveries, and the next position."""

    discarded: int
    after: int
    more: bool


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("pause", PauseEndpoint, EndpointPaused, verb.VerbKind.WRITE, bound=True),
    verb.Verb("resume", ResumeEndpoint, EndpointPaused, verb.VerbKind.WRITE, bound=True),
    verb.Verb("discard-endpoint", DiscardEndpoint, DiscardedOfEndpoint, verb.VerbKind.WRITE, bound=True),
)
