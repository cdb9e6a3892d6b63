"""Decides whether a refusal is final, or the temporary response of an API server that has just started.

For a second or longer after its start an API server responds 403 to every request, because its authorizer has not read
its rules, or 401; 404 for custom and aggregated resources, which it serves last; 5xx while etcd is not ready, 429
while its watch cache is filled. Accepting the first such response would cost a gap: the watch must reconnect before the
server's history has moved on.
"""

import time
from collections.abc import Callable

from beacon import errors
from beacon.cluster import failures

_FORBIDDEN, _UNAUTHORIZED, _ABSENT, _UNREADY = "forbidden", "unauthorized", "absent", "unready"
_BUSY = "busy"
_REFUSALS = {401: _UNAUTHORIZED, 403: _FORBIDDEN, 404: _ABSENT, 429: _BUSY}
_GONE_S = 10.0  # after this long without a response, earlier refusals no longer count


class Doubt:
    """Records for one scope which requests have succeeded, and since when they have been refused."""

    def __init__(self, lasting_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Treat a refusal as doubtful for `lasting_s`; not thread-safe."""
        self._lasting_s = lasting_s
        self._clock = clock
        self._known: set[str] = set()
        self._since: dict[tuple[str, str], float] = {}
        self._times = 0
        self._lost_at: float | None = None
        self._heard_at: float | None = None

    def worked(self, what: str) -> None:
        """Record that a request of this kind (list, watch, ...) has succeeded."""
        self._heard_at = self._clock()
        self._known.add(what)

    def settle(self) -> None:
        """Forget all refusals: the scope is healthy."""
        if self._since:
            self._since.clear()
            self._times = 0

    def about(self, failure: errors.BeaconError, what: str) -> int:
        """Record a failure of such a request; return the number of doubtful ones in a row, 0 if this one is final."""
        now, refusal = self._clock(), _refusal(failure)
        if is_loss(failure):
            self._lose(now)
            return 0
        doubtful = bool(refusal) and self._doubts((what, refusal), now)
        self._heard_at = now
        if refusal == _UNREADY:
            self._lost_at = now  # the server may be starting
        self._times = self._times + 1 if doubtful else 0
        return self._times

    def _lose(self, now: float) -> None:
        if self._heard_at is not None and now - self._heard_at > _GONE_S:
            self._since.clear()
        self._lost_at = now

    def _doubts(self, key: tuple[str, str], now: float) -> bool:
        if key not in self._since:
            lost = self._lost_at is not None and now - self._lost_at < self._lasting_s
            if not _is_doubtful(key[1], known=key[0] in self._known, lost=lost):
                return False
            self._since[key] = now
        return now - self._since[key] < self._lasting_s


def is_loss(failure: errors.BeaconError) -> bool:
    """Return True if the connection was lost, or could not be established."""
    if isinstance(failure, failures.Garbled | failures.Stuck):
        return False
    return isinstance(failure, failures.Unreachable | failures.Broken | failures.Silent)


def _refusal(failure: errors.BeaconError) -> str:
    """Return the kind of refusal, "" if a starting server does not respond with such a failure."""
    if isinstance(failure, failures.Absent):
        return _ABSENT
    if not isinstance(failure, failures.ApiRefused):
        return ""
    return _UNREADY if failure.status >= 500 else _REFUSALS.get(failure.status, "")


def _is_doubtful(refusal: str, *, known: bool, lost: bool) -> bool:
    """Decide about a first refusal: of a request that succeeded before (`known`), or soon after a `lost` connection."""
    if refusal in (_FORBIDDEN, _UNREADY):
        return known or lost
    return lost and (known or refusal in (_UNAUTHORIZED, _BUSY))
