"""Sends one request at a time and waits for its answer, with a loop of its own: for test events.

It shares everything with the notifier's own requests except the loop. For one thread only.
"""

import threading
from collections.abc import Callable

from beacon.notifier.transport import answer, event_loop, http_sender, route


class BlockingSender:
    """An `HttpSender` and its loop; `close` frees both."""

    def __init__(
        self,
        target: route.Target,
        *,
        token: Callable[[], str],
        listener: route.RouteListener | None = None,
        on_fault: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Create a sender; the parameters are those of `HttpSender`.

        Raises:
            errors.ConfigError: the proxy can't be used.
        """
        self._loop = event_loop.EventLoop()
        try:
            self._sender = http_sender.HttpSender(
                target, token=token, loop=self._loop, start=_start, listener=listener, on_fault=on_fault
            )
        except BaseException:
            self._loop.close()
            raise

    @property
    def missing(self) -> str:
        """Return the reason why nothing may be sent: a file of the credentials can't be read; "" if none."""
        return self._sender.missing

    def send(self, body: bytes, *, event_id: str, timeout_s: float) -> answer.EndpointAnswer:
        """Send one request and wait up to `timeout_s` for the complete answer."""
        got: list[answer.EndpointAnswer] = []
        self._sender.send(body, event_id=event_id, timeout_s=timeout_s, done=got.append)
        while not got:
            self._loop.run_once(timeout_s)
        return got[0]

    def cancel_all(self) -> None:
        """Cancel all current and future requests. For any thread."""
        self._loop.post(self._sender.cancel_all)

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()
        self._loop.close()


def _start(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()
