"""What a test makes go wrong: which requests fail and how, and what happens to open watches.

A fault is data with a matcher; the handlers ask for it at the few places where it can act. Rules are replaced as a
whole, so any thread may set them while the server reads them. Nothing here sends anything.
"""

import itertools
import re
import threading
from dataclasses import dataclass
from enum import StrEnum

from beacon.dev.api_server import access, routing, status


class Action(StrEnum):
    """What a fault does to the requests that it matches."""

    FAIL = "fail"  # answer with `error`
    DROP = "drop"  # cut the connection without an answer
    FREEZE = "freeze"  # say nothing, keep the connection; open watches fall silent too
    SLOW = "slow"  # wait before the answer, and before each watch line


class Ending(StrEnum):
    """How an open watch is made to end."""

    CUT = "cut"  # the connection breaks between two lines
    HALF_LINE = "half-line"  # the connection breaks in the middle of the next line
    ERROR = "error"  # an ERROR line inside the 200, then a clean end
    CLEAN = "clean"  # a clean end, as after timeoutSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests are meant; an empty field matches all, `path` is a regular expression found anywhere."""

    verb: str = ""
    resource: str = ""
    group: str | None = None
    namespace: str = ""
    user: str = ""
    path: str = ""

    def covers(self, user: access.ApiUser, info: routing.Info) -> bool:
        """Say whether a request is meant. `resource` may be `deployments` or `deployments.apps`."""
        plural, _, group = self.resource.partition(".")
        return (
            self.verb in {"", info.verb}
            and plural in {"", info.plural}
            and group in {"", info.group}
            and self.group in {None, info.group}
            and self.namespace in {"", info.namespace}
            and self.user in {"", user.name}
            and (not self.path or re.search(self.path, info.path) is not None)
        )


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault that is set; `times` counts down to nothing, None stays until removed."""

    number: int
    action: Action
    match: Match
    times: int | None = None
    error: status.ApiError | None = None
    response_s: float = 0.0
    line_s: float = 0.0


class Faults:
    """The faults that are set now. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._set: tuple[Fault, ...] = ()

    def add(
        self,
        action: Action,
        match: Match,
        *,
        times: int | None = None,
        error: status.ApiError | None = None,
        response_s: float = 0.0,
        line_s: float = 0.0,
    ) -> int:
        """Set a fault and return the number by which it can be removed."""
        with self._lock:
            number = next(self._numbers)
            fault = Fault(
                number=number,
                action=action,
                match=match,
                times=times,
                error=error,
                response_s=response_s,
                line_s=line_s,
            )
            self._set = (*self._set, fault)
            return number

    def remove(self, number: int) -> None:
        """Take one fault back."""
        with self._lock:
            self._set = tuple(fault for fault in self._set if fault.number != number)

    def clear(self, action: Action | None = None) -> None:
        """Take all faults back, or all of one kind."""
        with self._lock:
            self._set = tuple(fault for fault in self._set if action not in {None, fault.action})

    def take(self, user: access.ApiUser, info: routing.Info) -> list[Fault]:
        """Return the faults that strike a request that arrives now, and count them down."""
        if not self._set:
            return []
        with self._lock:
            struck = [fault for fault in self._set if fault.match.covers(user, info)]
            for fault in struck:
                if fault.times is not None:
                    fault.times -= 1
            self._set = tuple(fault for fault in self._set if fault.times is None or fault.times > 0)
            return struck

    def freezes(self, user: access.ApiUser, info: routing.Info) -> bool:
        """Say whether this request's connection is frozen now."""
        return any(fault.action is Action.FREEZE and fault.match.covers(user, info) for fault in self._set)

    def line_delay_s(self, user: access.ApiUser, info: routing.Info) -> float:
        """Return how long each watch line is held back."""
        return max((fault.line_s for fault in self._set if fault.match.covers(user, info)), default=0.0)


def failure(code: int, *, message: str = "", reason: str = "", retry_after_s: int | None = None) -> status.ApiError:
    """Make the error that a real server would answer with this code."""
    known = {
        401: status.unauthorized(),
        410: status.expired("The resourceVersion for the provided list is too old."),
        429: status.too_many_requests(1 if retry_after_s is None else retry_after_s),
        404: status.no_such_resource(),
        403: status.ApiError(403, "Forbidden", "forbidden by a fault that was set", details={}),
        500: status.ApiError(500, "InternalError", "Internal error occurred: a fault was set"),
        503: status.ApiError(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        504: status.ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout"),
    }
    usual = known.get(code) or status.ApiError(code, "", f"a fault was set: {code}")
    error = status.ApiError(
        code, reason or usual.reason, message or usual.message, details=usual.details, retry_after_s=usual.retry_after_s
    )
    if retry_after_s is not None:
        error.retry_after_s = retry_after_s
    return error
