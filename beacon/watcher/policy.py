"""The reaction of a stream to each failure: pure functions.

A stream never ends because of a failure of the API server or the store. A reaction decides how soon the stream retries,
whether its position is still valid, and which state it reports.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from beacon import errors
from beacon.cluster import failures

_WITHOUT_PROGRESS = 3


class StreamState(StrEnum):
    """The state of a stream, as /ready and the log report it."""

    OPENING = "opening"  # reads its position from the store, and the current resourceVersion from the API server
    LISTING = "listing"  # reads all objects of the scope
    WATCHING = "watching"  # has an open watch
    WAITING = "waiting"  # the API server does not serve this kind (yet); Beacon itself is healthy
    FORBIDDEN = "forbidden"  # 403: an RBAC rule is missing
    UNAUTHORIZED = "unauthorized"  # 401: the credentials are not accepted
    UNREACHABLE = "unreachable"  # no valid response from the API server
    REFUSED = "refused"  # this kind can't be watched as configured, or the store rejects the stream's requests


class Operation(StrEnum):
    """The kind of request to the API server: an RBAC verb, or discovery."""

    DISCOVER = "discover"
    LIST = "list"
    WATCH = "watch"


class FailureCause(StrEnum):
    """Why a watch was restarted: the label `reason` of `beacon_watch_restarts_total`."""

    TIMEOUT = "timeout"  # the server ended it as requested by timeoutSeconds
    INACTIVE = "inactive"
    EXPIRED = "expired"
    REWOUND = "rewound"
    ERROR = "error"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"


class Pace(StrEnum):
    """How soon to retry."""

    QUICK = "quick"  # almost at once, then with growing but short pauses: the retries load no one
    BACKOFF = "backoff"  # with growing pauses: the server has a problem
    DOUBT = "doubt"  # once almost at once, then every second: the server may have just started
    DENIED = "denied"  # an operator must grant a right; the stream notices that within seconds
    SLOW = "slow"  # an operator must act
    ABSENT = "absent"  # the kind must first be served


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """How to continue after a failure: with `relist` the position is void, and the stream lists the scope next."""

    state: StreamState
    cause: FailureCause
    pace: Pace
    relist: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time limits and intervals, in seconds."""

    inactive_s: float = 90.0  # without an event for this long, a read on another connection checks the server
    watch_s: tuple[int, int] = (300, 600)  # range of timeoutSeconds, random so that not all watches end together
    grace_s: float = 10.0  # how long after timeoutSeconds the watch is closed by Beacon
    flush_s: float = 3.0  # how long the position in the store may lag behind
    first_pause_s: float = 0.2
    longest_quick_s: float = 1.0  # a restarted server has an empty watch cache: reconnect before its history moves on
    longest_pause_s: float = 10.0
    doubt_s: float = 60.0  # how long a refusal may come from a server that has just started
    doubt_pause_s: float = 1.0
    denied_s: float = 4.0
    slow_s: float = 15.0
    absent_s: float = 5.0
    page: int = 500


def react(
    failure: errors.BeaconError, operation: Operation, *, doubtful: bool = False, without_progress: int = 0
) -> Reaction:
    """Return the reaction to a failed request, or to a failure of an open watch.

    `doubtful`: the server may have just started, so its refusal may be temporary (`beacon.cluster.doubt`).
    `without_progress`: the number of watches in a row that ended by the server's data, without a new position.
    """
    reaction = _react_in_doubt(failure) if doubtful else _react(failure, operation)
    if operation is Operation.WATCH and _is_list_due(without_progress):
        return replace(reaction, relist=True)
    return reaction


def _react(failure: errors.BeaconError, operation: Operation) -> Reaction:
    if isinstance(failure, failures.ApiRefused):
        return _react_to_status(failure, operation)
    if isinstance(failure, failures.Absent):
        return Reaction(state=StreamState.WAITING, cause=FailureCause.ABSENT, pace=Pace.ABSENT)
    if isinstance(failure, failures.Unsuitable):
        return Reaction(state=StreamState.REFUSED, cause=FailureCause.ERROR, pace=Pace.SLOW)
    if isinstance(failure, failures.Silent):
        return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.INACTIVE, pace=Pace.QUICK)
    if isinstance(failure, failures.Malformed):
        # The server would send the same line again from the same position: only a list gets past it.
        return Reaction(
            state=StreamState.UNREACHABLE,
            cause=FailureCause.ERROR,
            pace=Pace.BACKOFF,
            relist=operation is Operation.WATCH,
        )
    if isinstance(failure, failures.Garbled):
        return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.BACKOFF)
    if isinstance(failure, errors.PermanentError):
        return Reaction(state=StreamState.REFUSED, cause=FailureCause.ERROR, pace=Pace.BACKOFF)  # rejected by the store
    return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.QUICK)


def _react_in_doubt(failure: errors.BeaconError) -> Reaction:
    """Return a reaction that reports neither a missing right nor an absent kind: the server may still be starting."""
    unready = isinstance(failure, failures.ApiRefused) and (failure.status >= 500 or failure.status == 429)
    return Reaction(
        state=StreamState.UNREACHABLE if unready else StreamState.OPENING, cause=FailureCause.ERROR, pace=Pace.DOUBT
    )


def _is_list_due(without_progress: int) -> bool:
    """Return True after 3, 6, 12, 24, ... watches without progress: a list may help, but must not run in a loop."""
    rounds, rest = divmod(without_progress, _WITHOUT_PROGRESS)
    return rounds > 0 and rest == 0 and rounds & (rounds - 1) == 0


def pause_s(pace: Pace, timing: Timing, *, failed: int, asked_s: float | None, chance: float) -> float:
    """Compute the pause after the `failed`-th failure in a row; `chance` is a random number of [0, 1).

    `asked_s` is the server's Retry-After, which is honored up to five minutes.
    """
    spread = 0.8 + 0.4 * chance
    steady = {
        Pace.SLOW: timing.slow_s,
        Pace.DENIED: timing.denied_s,
        Pace.ABSENT: timing.absent_s,
        Pace.DOUBT: timing.doubt_pause_s if failed > 1 else timing.first_pause_s,
    }
    if pace in steady:
        pause = steady[pace] * spread
    else:
        longest = timing.longest_quick_s if pace is Pace.QUICK else timing.longest_pause_s
        pause = min(timing.first_pause_s * 2.0 ** min(failed - 1, 20), longest) * (0.5 + 0.5 * chance)
    return max(pause, min(asked_s or 0.0, 300.0))


def missing_rule(operation: Operation, plural: str, group: str, namespace: str, *, account: str) -> str:
    """Return the text for a 403 that describes the missing RBAC rule; `account` is `Connection.account`."""
    where = f"in namespace {namespace!r}" if namespace else "in all namespaces"
    return (
        f'{account} may not "{operation}" "{plural}" in API group "{group}" {where}: bind it to a role with that rule'
    )


def _react_to_status(failure: failures.ApiRefused, operation: Operation) -> Reaction:
    watching = operation is Operation.WATCH
    match failure.status:
        case 401:
            return Reaction(state=StreamState.UNAUTHORIZED, cause=FailureCause.UNAUTHORIZED, pace=Pace.BACKOFF)
        case 403:
            return Reaction(state=StreamState.FORBIDDEN, cause=FailureCause.FORBIDDEN, pace=Pace.DENIED)
        case 404:
            return Reaction(state=StreamState.WAITING, cause=FailureCause.ABSENT, pace=Pace.ABSENT)
        case 410:
            return Reaction(state=StreamState.LISTING, cause=FailureCause.EXPIRED, pace=Pace.QUICK, relist=watching)
        case status if status in {408, 429} or status >= 500:
            # A 504 about a position ahead of the server is decided by the next read of the current resourceVersion:
            # one of several servers that lags behind the others answers like a restored one.
            return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.BACKOFF)
        case _:
            return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.SLOW)
