"""The deliveries of one endpoint between claim and answer: a queue, and up to the configured number of requests.

A probe is sent beside that number, because it must not wait for requests that have been stuck since before the breaker
opened. This module decides nothing else; `begin` sends.
"""

from collections import deque
from collections.abc import Callable, Iterable

from beacon.notifier.delivery import claim_session


class Outgoing:
    """A queue of leased deliveries, and the requests under way. For one thread."""

    def __init__(
        self,
        width: int,
        begin: Callable[[claim_session.LeasedDelivery], None],
        *,
        may_send: Callable[[], bool],
        is_leased: Callable[[claim_session.LeasedDelivery], bool],
    ) -> None:
        """Call `begin` for up to `width` deliveries at a time, as long as `may_send` returns True.

        A delivery is skipped if its lease has ended while it was queued.
        """
        self._width = width
        self._begin = begin
        self._may_send = may_send
        self._is_leased = is_leased
        self._queue: deque[claim_session.LeasedDelivery] = deque()
        self._busy = 0
        self._probes = 0
        self._sending = False

    @property
    def queued(self) -> int:
        """Return the number of queued deliveries."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Return the number of requests under way."""
        return self._busy + self._probes

    def submit(self, jobs: Iterable[claim_session.LeasedDelivery]) -> None:
        """Queue deliveries, and send as many as possible."""
        self._queue.extend(jobs)
        self.send()

    def submit_probe(self, job: claim_session.LeasedDelivery) -> None:
        """Send a probe at once."""
        self._probes += 1
        self._begin(job)

    def ended(self, job: claim_session.LeasedDelivery) -> None:
        """Record that a request is no longer under way; the caller calls `send` when it has settled it."""
        if job.probe:
            self._probes -= 1
        else:
            self._busy -= 1

    def send(self) -> None:
        """Send queued deliveries. A request that ends meanwhile makes room in the same call."""
        if self._sending:
            return
        self._sending = True
        try:
            while self._queue and self._busy < self._width and self._may_send():
                job = self._queue.popleft()
                if self._is_leased(job):
                    self._busy += 1
                    self._begin(job)
        finally:
            self._sending = False

    def withdraw(self) -> list[claim_session.LeasedDelivery]:
        """Remove and return the queued deliveries."""
        jobs = [job for job in self._queue if self._is_leased(job)]
        self._queue.clear()
        return jobs
