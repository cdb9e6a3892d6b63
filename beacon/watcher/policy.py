"""What to do about what went wrong: pure functions from a failure to a reaction.

Whatever happens, the stream goes on: what differs is how soon, whether the
position is still good, and what a person is told.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from beacon import errors
from beacon.cluster import failures

_IN_VAIN = 3


class StreamState(StrEnum):
    """What a stream is doing, for /ready and for a person."""

    OPENING = "opening"  # asking the store and the API server where it stands
    LISTING = "listing"  # reading the whole scope
    WATCHING = "watching"  # following it
    WAITING = "waiting"  # the API server does not serve this kind (yet); nothing is wrong with Beacon
    FORBIDDEN = "forbidden"  # 403: a right is missing
    UNAUTHORIZED = "unauthorized"  # 401: the credentials are not accepted
    UNREACHABLE = "unreachable"  # no proper answer from the API server
    REFUSED = "refused"  # this kind can't be watched as configured, or the store does not take what it shows


class Doing(StrEnum):
    """What the stream asked of the API server: the RBAC verb, or discovery."""

    DISCOVER = "discover"
    LIST = "list"
    WATCH = "watch"


class FailureCause(StrEnum):
    """Why a watch was begun anew: the label of `beacon_watch_restarts_total`."""

    TIMEOUT = "timeout"  # the server ended it properly
    INACTIVE = "inactive"
    EXPIRED = "expired"
    REWOUND = "rewound"
    ERROR = "error"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"


class Pace(StrEnum):
    """How soon to try again."""

    QUICK = "quick"  # at first almost at once, then with growing pauses that stay short: nobody is bothered by it
    BACKOFF = "backoff"  # with growing pauses: the server has trouble
    DOUBT = "doubt"  # once more almost at once, then every second: the server may have just started
    DENIED = "denied"  # a person must give a right, and it is to be noticed within seconds
    SLOW = "slow"  # a person must do something
    ABSENT = "absent"  # something must appear


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What to do: `state` to be in meanwhile, and whether the position is void, so that a list comes next."""

    state: StreamState
    cause: FailureCause
    pace: Pace
    relist: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things may take, in seconds."""

    inactive_s: float = 90.0  # without a line the server is asked on another connection whether it still answers
    watch_s: tuple[int, int] = (300, 600)  # after which the server ends a watch, spread so that not all end together
    grace_s: float = 10.0  # and for how much longer it may live
    flush_s: float = 3.0  # how long a position may lag in the store, and how often a silent scope asks
    first_pause_s: float = 0.2
    longest_quick_s: float = 1.0  # a server that was restarted has an empty history: be back before it moves on
    longest_pause_s: float = 10.0
    doubt_s: float = 60.0  # how long a refusal may be that of a server that has just started
    doubt_pause_s: float = 1.0
    denied_s: float = 4.0
    slow_s: float = 15.0
    absent_s: float = 5.0
    page: int = 500


def react(failure: errors.BeaconError, doing: Doing, *, doubtful: bool = False, in_vain: int = 0) -> Reaction:
    """Decide about a failure of a request, or of a watch under way.

    `doubtful`: the server may have just started, and what it says may not be meant (`beacon.cluster.doubt`).
    `in_vain`: so many watches in a row were ended by what the server sent, before a line moved the position on.
    """
    reaction = _react_in_doubt(failure) if doubtful else _react(failure, doing)
    if doing is Doing.WATCH and _is_time_to_list(in_vain):
        return replace(reaction, relist=True)
    return reaction


def _react(failure: errors.BeaconError, doing: Doing) -> Reaction:
    if isinstance(failure, failures.ApiRefused):
        return _react_to_status(failure, doing)
    if isinstance(failure, failures.Absent):
        return Reaction(state=StreamState.WAITING, cause=FailureCause.ABSENT, pace=Pace.ABSENT)
    if isinstance(failure, failures.Unsuitable):
        return Reaction(state=StreamState.REFUSED, cause=FailureCause.ERROR, pace=Pace.SLOW)
    if isinstance(failure, failures.Silent):
        return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.INACTIVE, pace=Pace.QUICK)
    if isinstance(failure, failures.Malformed):
        # The same line would come again from the same position: only a list gets past it.
        return Reaction(
            state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.BACKOFF, relist=doing is Doing.WATCH
        )
    if isinstance(failure, failures.Garbled):
        return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.BACKOFF)
    if isinstance(failure, errors.PermanentError):
        return Reaction(state=StreamState.REFUSED, cause=FailureCause.ERROR, pace=Pace.BACKOFF)  # by the store
    return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.QUICK)


def _react_in_doubt(failure: errors.BeaconError) -> Reaction:
    """Neither a missing right nor an absent kind: a scope that is being opened, or a server that is not ready."""
    unready = isinstance(failure, failures.ApiRefused) and (failure.status >= 500 or failure.status == 429)
    return Reaction(
        state=StreamState.UNREACHABLE if unready else StreamState.OPENING, cause=FailureCause.ERROR, pace=Pace.DOUBT
    )


def _is_time_to_list(in_vain: int) -> bool:
    """Return True after 3, 6, 12, 24, ... watches in vain: a list may get past it, and must not be had in a loop."""
    rounds, rest = divmod(in_vain, _IN_VAIN)
    return rounds > 0 and rest == 0 and rounds & (rounds - 1) == 0


def pause_s(pace: Pace, timing: Timing, *, failed: int, asked_s: float | None, chance: float) -> float:
    """Reckon the pause after the `failed`-th failure in a row; `chance` is a random number of [0, 1).

    `asked_s` is what the server asked for, which is honoured up to five minutes.
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


def missing_rule(doing: Doing, plural: str, group: str, namespace: str) -> str:
    """Name the RBAC rule that a 403 asks for, in words."""
    where = f"in namespace {namespace!r}" if namespace else "in all namespaces"
    return (
        f'the service account may not "{doing}" "{plural}" in API group "{group}" {where}: bind it to a role with that'
        " rule"
    )


def _react_to_status(failure: failures.ApiRefused, doing: Doing) -> Reaction:
    watching = doing is Doing.WATCH
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
            # A 504 about a position ahead of the server is decided by the next look at the present one: a server
            # of several that lags behind the others says the same as a restored one.
            return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.BACKOFF)
        case _:
            return Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.SLOW)
