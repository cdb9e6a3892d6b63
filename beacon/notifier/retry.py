"""What an answer means for its event, and when the next request may go.

Pure: time and chance are given. Whose fault a failure is, the event's or the endpoint's, is not decided here but in
`beacon.notifier.breaker`, because that takes more than one answer.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

_RETRIED = frozenset({408, 425, 429})
_OUTAGE_LIKE = frozenset({502, 503, 504})
_PAUSING = frozenset({429, 503})


class Meaning(StrEnum):
    """What an answer says about the event."""

    DELIVERED = "delivered"  # the endpoint has it
    AGAIN = "again"  # it may be accepted another time
    REFUSED = "refused"  # it won't be accepted another time either


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often and how fast to try again. `max_attempts` 0: no limit; `jitter` is a share of the delay, 0..1."""

    max_attempts: int
    initial_s: float
    max_s: float
    multiplier: float
    jitter: float


def meaning(status: int) -> Meaning:
    """Judge a status; 0 stands for no complete answer.

    1xx as a final answer and 6xx and above are no HTTP that anybody defined: they say nothing about the event.
    """
    if 200 <= status < 300:
        return Meaning.DELIVERED
    if 300 <= status < 500 and status not in _RETRIED:
        return Meaning.REFUSED
    return Meaning.AGAIN


def outage_like(status: int) -> bool:
    """Tell whether an answer may be the endpoint's fault: none at all, or a gateway's 502, 503, 504."""
    return status == 0 or status in _OUTAGE_LIKE


def exhausted(policy: Policy, counted: int) -> bool:
    """Tell whether no attempt is left after `counted` that counted."""
    return 0 < policy.max_attempts <= counted


def backoff_s(policy: Policy, requests: int, *, roll: float) -> float:
    """Give the delay after a failure with `requests` requests made before it; `roll` is uniform in -1..1.

    The delay never exceeds the policy's maximum, jitter included.
    """
    base_s = policy.max_s
    if requests * math.log(policy.multiplier) < math.log(max(policy.max_s / policy.initial_s, 1.0)):
        base_s = min(policy.initial_s * policy.multiplier**requests, policy.max_s)
    return min(base_s * (1.0 + policy.jitter * roll), policy.max_s)


def delay_s(policy: Policy, requests: int, *, asked_s: float | None, roll: float) -> float:
    """Give the delay after a failure: what the endpoint asked for up to the maximum, else the backoff."""
    if asked_s is None:
        return backoff_s(policy, requests, roll=roll)
    return min(asked_s, policy.max_s)


def pause_s(policy: Policy, status: int, *, asked_s: float | None) -> float:
    """Give how long the endpoint wants no request at all: what it asked for with 429 or 503, up to the maximum."""
    return min(asked_s, policy.max_s) if asked_s is not None and status in _PAUSING else 0.0
