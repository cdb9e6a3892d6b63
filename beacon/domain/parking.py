"""When an endpoint is parked: the rules that decide whether refusals speak against it or against their events.

Pure: no clock, no SQL. Instants are those of the answers, in microseconds. A refusal is a complete answer with one of
the configured statuses. It counts only if it is the first one since the endpoint accepted something of its object.
"""

from collections.abc import Iterable
from enum import StrEnum

from beacon.domain import records

SILENCE_US = 1_000_000  # without a proper answer, before an endpoint is parked
STRANGERS = 20  # objects of which nothing was accepted count only if there are so many
MOST_RESTORES = 3  # an event that was restored so often is one that the endpoint will never accept
FIRST_PROBE_S = 1.0
LONGEST_FRESH_S = 30.0  # between two probes while an event waits that was never sent

_OF_THE_ENDPOINT = frozenset({401, 407})  # no receiver answers them because of an object
_RETRIED = frozenset({408, 425, 429})


class ParkingCause(StrEnum):
    """Why an endpoint is parked; other statuses are `status-<code>`."""

    UNAUTHORIZED = "unauthorized"  # 401
    FORBIDDEN = "forbidden"  # 403
    NOT_FOUND = "not-found"  # 404
    METHOD = "method"  # 405
    PROXY_AUTH = "proxy-auth"  # 407
    GONE = "gone"  # 410


@records.record
class ParkingRules:
    """The configuration of one endpoint: `endpoint.park`."""

    after: int = 3
    statuses: frozenset[int] = frozenset({401, 403, 404, 405, 407, 410})


@records.record
class RefusedObject:
    """The first refusal of an object. `accepted`: the endpoint has accepted something of the object before."""

    key: int
    status: int
    answered_us: int
    accepted: bool


def cause_of(status: int) -> str:
    """Return the cause that a status stands for."""
    return _CAUSES.get(status, f"status-{status}")


def is_proper(status: int, refusals: frozenset[int]) -> bool:
    """Return True if an answer shows that the endpoint processes events; `refusals` are the statuses that park it."""
    return 200 <= status < 500 and status not in _RETRIED and status not in refusals


def is_enough(rules: ParkingRules, row: Iterable[RefusedObject]) -> bool:
    """Return True if refusals in a row speak against the endpoint."""
    objects = {refusal.key: refusal for refusal in row}
    known = sum(refusal.accepted or refusal.status in _OF_THE_ENDPOINT for refusal in objects.values())
    return known >= rules.after or len(objects) >= max(STRANGERS, rules.after)


def park_at_us(proper_us: int, row: Iterable[RefusedObject]) -> int:
    """Return when refusals in a row have lasted for long enough without a proper answer, which last came `proper_us`.

    A refusal that is answered later than that moves it to its own time.
    """
    return max([proper_us + SILENCE_US, *(refusal.answered_us for refusal in row)])


_CAUSES = {
    401: ParkingCause.UNAUTHORIZED,
    403: ParkingCause.FORBIDDEN,
    404: ParkingCause.NOT_FOUND,
    405: ParkingCause.METHOD,
    407: ParkingCause.PROXY_AUTH,
    410: ParkingCause.GONE,
}
