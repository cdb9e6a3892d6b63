"""The notifier's main loop: one thread for the bus, all requests and all endpoints.

Each round sends the claims that are due, waits for the bus, the sockets and the timers, and passes the store's replies
to the endpoints. What belongs to one endpoint is in `endpoint`.
"""

import threading
import time
from collections.abc import Sequence

from beacon import bus, errors, wire
from beacon.notifier.delivery import guarded_endpoint, ports
from beacon.notifier.transport import event_loop

_FLUSH_S = 1.5  # beside `finish_s`, within the 12 s that a stop may take
_BUSY_S = 0.5  # how often missing answers are looked for
_IDLE_S = 2.0  # longest wait between heartbeats


class Dispatcher:
    """Delivers the store's events to the endpoints, until stopped."""

    def __init__(
        self,
        endpoints: Sequence[guarded_endpoint.GuardedEndpoint],
        *,
        loop: event_loop.EventLoop,
        connect: ports.Connect,
        stop: threading.Event,
        ledger: str = "",
        finish_s: float = 10.0,
    ) -> None:
        """Serve endpoints whose senders use `loop`. `connect` opens a bus client.

        `ledger` is the one to which the deaths belong that the first claim reports, "" for any.
        `finish_s` is how long requests under way may continue after a stop before they are cancelled.
        """
        self._endpoints = {one.name: one for one in endpoints}
        self._loop = loop
        self._connect = connect
        self._stop = stop
        self._ledger = ledger
        self._finish_s = finish_s
        self._client: bus.Client | None = None
        self._watched: tuple[int, ...] = ()
        self._bus_is_ready = False
        self._collect_at = 0.0

    def run(self) -> None:
        """Deliver until the stop flag is set, then finish the requests under way and settle them durably.

        Raises:
            bus.SettingsChanged: the store has another configuration; the requests under way are settled.
        """
        with self._connect() as client:
            client.ledger = self._ledger
            self._client = client
            try:
                while not self._stop.is_set():
                    self._round(client, _IDLE_S if self._is_idle else _BUSY_S)
            except bus.SettingsChanged:
                self._unwatch()
                self._settle_with_new_store(client.ledger)
                raise
            finally:
                if self._stop.is_set():
                    self._finish(client)
                self._unwatch()

    def wake(self) -> None:
        """Wake the loop, e.g. because the stop flag was set. For any thread."""
        if self._client is not None:
            self._client.wake()

    @property
    def _is_idle(self) -> bool:
        return all(one.idle for one in self._endpoints.values())

    def _settle_with_new_store(self, ledger: str) -> None:
        """Settle the requests under way with a store that has another configuration, if it has the same ledger.

        In another ledger the same ids belong to other deliveries.
        """
        for one in self._endpoints.values():
            one.renew()
        with self._connect() as client:
            client.ledger = ledger
            self._client = client
            try:
                self._finish(client)
            finally:
                self._unwatch()

    def _finish(self, client: bus.Client) -> None:
        """Finish the requests under way, cancel those that take too long, and settle all of them."""
        for one in self._endpoints.values():
            one.finish()
        cut_at = time.monotonic() + self._finish_s
        end_at = cut_at + _FLUSH_S
        while (now := time.monotonic()) < end_at:
            if all(one.finished for one in self._endpoints.values()):
                return
            if now >= cut_at:
                for one in self._endpoints.values():
                    one.cancel()
            self._round(client, min(0.1, end_at - now))

    def _round(self, client: bus.Client, timeout_s: float) -> None:
        """Send the claims that are due, wait up to `timeout_s`, and process what has happened."""
        now = time.monotonic()
        for one in self._endpoints.values():
            claim, again_s = one.next_claim(now)
            if claim is not None:
                client.submit(claim, timeout_s=one.timeout_s(claim))
            timeout_s = min(timeout_s, again_s)
        self._watch(client)
        has_input = client.has_input  # its descriptors show only changes, and sending may have consumed one
        self._loop.run_once(0.0 if has_input else min(timeout_s, client.patience_s))
        now = time.monotonic()
        if self._bus_is_ready or has_input or now >= self._collect_at:
            self._bus_is_ready, self._collect_at = False, now + client.patience_s
            self._collect(client)
        for one in self._endpoints.values():
            one.check(now, renewed_at=client.renewed_at)

    def _collect(self, client: bus.Client) -> None:
        try:
            for _, claim, reply in client.gather(0.0):
                self._take(claim, reply, client.ledger)
        except bus.LedgerChanged:
            for one in self._endpoints.values():
                one.forget(client.ledger)

    def _take(self, claim: wire.AnyRequest, reply: wire.Reply | errors.PermanentError, ledger: str) -> None:
        """Pass the store's answer to a claim, or its refusal, to the endpoint that made it."""
        if isinstance(reply, errors.ForeignClusterError):
            raise reply  # concerns the whole process
        if isinstance(claim, wire.Claim):  # nothing else is sent
            made_by = self._endpoints[claim.endpoint]
            if isinstance(reply, wire.Claimed):
                made_by.take_reply(claim, reply, ledger=ledger)
            elif isinstance(reply, errors.PermanentError):
                made_by.failed(reply)

    def _watch(self, client: bus.Client) -> None:
        """Watch the client's descriptors, which change when it reconnects: new ones may have the old numbers."""
        if client.descriptors is self._watched:
            return
        self._unwatch()
        self._watched = client.descriptors
        for descriptor in self._watched:
            self._loop.watch(descriptor, event_loop.READ, self._notice_bus)

    def _unwatch(self) -> None:
        for descriptor in self._watched:
            self._loop.unwatch(descriptor)
        self._watched = ()

    def _notice_bus(self) -> None:
        self._bus_is_ready = True
