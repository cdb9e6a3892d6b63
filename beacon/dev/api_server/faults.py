"""Injected faults: which requests fail and how, and how open watches end.

A fault is data with a matcher; the handlers query it at the few places where it applies. The tuple of faults is
replaced as a whole, so any thread may change it while the server reads it. This module must not send anything.
"""

import itertools
import re
import threading
from dataclasses import dataclass
from enum import StrEnum

from beacon.dev.api_server import access, routing, status


class FaultKind(StrEnum):
    """The effect of a fault on the requests that it matches."""

    FAIL = "fail"  # answer with `error`
    DROP = "drop"  # cut the connection without a response
    FREEZE = "freeze"  # keep the connection but send nothing, also on open watches
    SLOW = "slow"  # wait before the response, and before each watch line


class Ending(StrEnum):
    """The way in which an open watch ends."""

    CUT = "cut"  # the connection breaks between two lines
    HALF_LINE = "half-line"  # the connection breaks in the middle of the next line
    ERROR = "error"  # an ERROR line inside the 200, then a clean end
    CLEAN = "clean"  # a clean end, as after timeoutSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Matcher of requests. An empty field matches all; `path` is a regular expression, searched for in the path."""

    verb: str = ""
    resource: str = ""
    group: str | None = None
    namespace: str = ""
    user: str = ""
    path: str = ""

    def covers(self, user: access.ApiUser, info: routing.Info) -> bool:
        """Return True if a request matches. `resource` may be `deployments` or `deployments.apps`."""
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
    """One active fault. `times` is how often it still applies; None means until it is removed."""

    number: int
    action: FaultKind
    match: Match
    times: int | None = None
    error: status.ApiError | None = None
    response_s: float = 0.0
    line_s: float = 0.0


class Faults:
    """The active faults. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._set: tuple[Fault, ...] = ()

    def add(
        self,
        action: FaultKind,
        match: Match,
        *,
        times: int | None = None,
        error: status.ApiError | None = None,
        response_s: float = 0.0,
        line_s: float = 0.0,
    ) -> int:
        """Add a fault and return the number by which it can be removed."""
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
        """Remove one fault."""
        with self._lock:
            self._set = tuple(fault for fault in self._set if fault.number != number)

    def clear(self, action: FaultKind | None = None) -> None:
        """Remove all faults, or all with one action."""
        with self._lock:
            self._set = tuple(fault for fault in self._set if action not in {None, fault.action})

    def take(self, user: access.ApiUser, info: routing.Info) -> list[Fault]:
        """Return the faults that apply to a new request, and decrement their counters."""
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
        """Return True if a freeze matches this request now."""
        return any(fault.action is FaultKind.FREEZE and fault.match.covers(user, info) for fault in self._set)

    def line_delay_s(self, user: access.ApiUser, info: routing.Info) -> float:
        """Return by how much each watch line is delayed."""
        return max((fault.line_s for fault in self._set if fault.match.covers(user, info)), default=0.0)


def failure(code: int, *, message: str = "", reason: str = "", retry_after_s: int | None = None) -> status.ApiError:
    """Return the error with which a real server would answer for this code."""
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
