"""Decides what an answer means for its event, and computes the delay before the next request.

Pure: time and random numbers are arguments. `beacon.notifier.delivery.breaker` decides whether a failure
counts against the event or the endpoint, because that requires more than one answer.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

_RETRIED = frozenset({408, 425, 429})
_OUTAGE_LIKE = frozenset({502, 503, 504, *range(520, 528), 530})  # 52x and 530: gateways that lost their origin
_PAUSING = frozenset({429, 503})


class Meaning(StrEnum):
    """The consequence of an answer for its event."""

    DELIVERED = "delivered"  # the endpoint accepted it
    AGAIN = "again"  # a later request may be accepted
    REFUSED = "refused"  # later requests will not be accepted either


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits and delays of retries. `max_attempts` 0: no limit; `jitter` is a share of the delay, 0..1."""

    max_attempts: int
    initial_s: float
    max_s: float
    multiplier: float
    jitter: float


def meaning(status: int) -> Meaning:
    """Return the meaning of a status; 0 stands for no complete answer.

    HTTP defines neither a final 1xx nor 6xx and above: they are retried, because they do not describe the event.
    """
    if 200 <= status < 300:
        return Meaning.DELIVERED
    if 300 <= status < 500 and status not in _RETRIED:
        return Meaning.REFUSED
    return Meaning.AGAIN


def outage_like(status: int) -> bool:
    """Return True if a failure may be caused by the endpoint: no answer, or one of a gateway that has no endpoint."""
    return status == 0 or status in _OUTAGE_LIKE


def exhausted(policy: Policy, counted: int) -> bool:
    """Return True if no attempt is left after `counted` attempts that count."""
    return 0 < policy.max_attempts <= counted


def backoff_s(policy: Policy, requests: int, *, roll: float) -> float:
    """Return the delay after a failure with `requests` earlier requests; `roll` is uniform in -1..1.

    The delay never exceeds the policy's maximum, jitter included.
    """
    base_s = policy.max_s
    if requests * math.log(policy.multiplier) < math.log(max(policy.max_s / policy.initial_s, 1.0)):
        base_s = min(policy.initial_s * policy.multiplier**requests, policy.max_s)
    return min(base_s * (1.0 + policy.jitter * roll), policy.max_s)


def delay_s(policy: Policy, requests: int, *, asked_s: float | None, roll: float) -> float:
    """Return the delay after a failure: the one that the endpoint asked for, up to the maximum, else the backoff."""
    if asked_s is None:
        return backoff_s(policy, requests, roll=roll)
    return min(asked_s, policy.max_s)


def pause_s(policy: Policy, status: int, *, asked_s: float | None) -> float:
    """Return how long to pause all requests: the delay asked for with 429 or 503, up to the maximum."""
    return min(asked_s, policy.max_s) if asked_s is not None and status in _PAUSING else 0.0
