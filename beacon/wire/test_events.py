"""Requests for a test event: a command asks the store, the running notifier sends, and the command gets the result.

The store keeps them in memory only. A repeated request has the same id, and is sent once while the notifier runs.
"""

from dataclasses import dataclass

from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class TestEventResult:
    """The response of the endpoint; `code` is "" if nothing was sent, and `error` states why.

    `clock_offset_s` is by how many seconds the endpoint's clock is ahead; None: it sent no `Date`.
    """

    id: str
    type: str
    endpoint: str
    code: str
    status: int
    error: str
    seconds: float
    request_id: str
    clock_offset_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTestEvent(verb.Request["TestEventProgress"]):
    """Ask for a test event, which the caller identifies by a random id; repeat until the result has arrived.

    `endpoint` is the name of the endpoint, "" for the only one. A request that is not repeated for some seconds is
    dropped.
    """

    id: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestEventProgress(verb.Reply):
    """Reply with the progress: the notifier has taken it, and the result, as soon as there is one."""

    taken: bool
    result: TestEventResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeTestEvent(verb.Request["TakenTestEvent"]):
    """Ask, as the notifier, for a test event to send; `under_way` are the ids of those that it is sending."""

    under_way: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenTestEvent(verb.Reply):
    """Reply with the id of a requested test event, "" if there is none, and its endpoint, "" for the only one."""

    id: str
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTestEvent(verb.Request["ReportedTestEvent"]):
    """Report, as the notifier, the result of a test event; `id` is that of the request."""

    id: str
    result: TestEventResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTestEvent(verb.Reply):
    """Reply to a report."""


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("request-test-event", RequestTestEvent, TestEventProgress, verb.VerbKind.READ),
    verb.Verb("take-test-event", TakeTestEvent, TakenTestEvent, verb.VerbKind.READ),
    verb.Verb("report-test-event", ReportTestEvent, ReportedTestEvent, verb.VerbKind.READ),
)
