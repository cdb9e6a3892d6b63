"""The open connections to one endpoint: those that carry a request, and the idle ones that may carry another.

A connection is reused only if its last response was complete, no bytes have arrived since, it was not idle for longer
than a load balancer keeps it open, and its route is still the current one. This module knows nothing about events.
"""

import time
from collections.abc import Callable

from beacon.boundary import idle_socket
from beacon.notifier.transport import event_loop, exchange, response_parser, route, stream

_LEAST_SWEEP_S = 1.0  # between two searches for connections that were idle for too long

Result = response_parser.EndpointResponse | Exception


class UnsentError(Exception):
    """A reused connection broke before the request was sent, so the endpoint can't have received it.

    The argument is the error.
    """


class EndpointConnection:
    """An open connection; `served` is True if it carried an earlier request."""

    __slots__ = (
        "descriptor",
        "done",
        "events",
        "exchange",
        "idle_since",
        "is_open",
        "ready",
        "route",
        "served",
        "stream",
    )

    def __init__(self, connected: stream.NonBlockingStream, way: route.EndpointRoute) -> None:
        self.stream = connected
        self.descriptor = connected.fileno()
        self.route = way
        self.exchange: exchange.HttpExchange | None = None
        self.done: Callable[[Result], None] = _ignore
        self.ready: Callable[[], None] = _nothing
        self.events = event_loop.READ
        self.served = False
        self.idle_since = 0.0
        self.is_open = True

    @property
    def sent(self) -> bool:
        """Return True if the current request was sent completely."""
        return self.exchange is not None and self.exchange.sent


class Connections:
    """One endpoint's connections. For the loop's thread."""

    def __init__(self, loop: event_loop.LoopShare, *, width: int, idle_timeout_s: float) -> None:
        """Keep up to `width` idle connections, each for up to `idle_timeout_s`."""
        self._loop = loop
        self._width = width
        self._idle_timeout_s = idle_timeout_s
        self._open: set[EndpointConnection] = set()
        self._idle: list[EndpointConnection] = []  # the one used last is at the end
        self._route: route.EndpointRoute | None = None
        self._sweep_timer: event_loop.Timer | None = None

    @property
    def idle(self) -> tuple[EndpointConnection, ...]:
        """Return the idle connections."""
        return tuple(self._idle)

    def follow(self, current: route.EndpointRoute) -> None:
        """Close the idle connections of any other route, now and from now on."""
        if current is not self._route:
            self._route = current
            idle, self._idle = self._idle, []
            for connection in idle:
                self.drop(connection)

    def add(self, connected: idle_socket.Stream, way: route.EndpointRoute) -> EndpointConnection:
        """Add a new connection.

        Raises:
            OSError: it has broken already; it is closed.
        """
        try:
            connection = EndpointConnection(stream.of(connected), way)
            connection.ready = lambda: self._ready(connection)
            self._loop.watch(connection.descriptor, event_loop.READ, connection.ready)
        except OSError:
            connected.close()
            raise
        self._open.add(connection)
        return connection

    def take_idle(self) -> EndpointConnection | None:
        """Return an idle connection that may carry a request, if there is one."""
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.idle_since <= self._idle_timeout_s and connection.stream.is_silent():
                return connection
            self.drop(connection)
        return None

    def begin(self, connection: EndpointConnection, data: bytes, done: Callable[[Result], None]) -> None:
        """Send a request. `done` is called with the response, or with the error after which the connection is closed.

        It is called once, unless the connection is dropped before.
        """
        connection.exchange = exchange.HttpExchange(connection.stream, data)
        connection.done = done
        self._step(connection, connection.exchange.start)

    def drop(self, connection: EndpointConnection) -> None:
        """Close a connection; its request gets no result."""
        if connection.is_open:
            connection.is_open = False
            connection.exchange, connection.done, connection.ready = None, _ignore, _nothing
            self._open.discard(connection)
            try:
                self._loop.unwatch(connection.descriptor)
            finally:
                connection.stream.close()

    def close(self) -> None:
        """Close all connections."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._idle.clear()
        for connection in tuple(self._open):
            self.drop(connection)

    def _ready(self, connection: EndpointConnection) -> None:
        """Continue the exchange of a connection that became ready; an idle one was closed, or has sent something."""
        if not connection.is_open:
            return
        if connection.exchange is not None:
            self._step(connection, connection.exchange.advance)
        elif not connection.stream.is_silent():
            self._idle.remove(connection)
            self.drop(connection)

    def _step(self, connection: EndpointConnection, act: Callable[[], response_parser.EndpointResponse | None]) -> None:
        try:
            response = act()
        except Exception as error:  # noqa: BLE001  also an unexpected error is this endpoint's, never the loop's
            done, unsent = connection.done, connection.served and not connection.sent
            self.drop(connection)
            done(UnsentError(error) if unsent and isinstance(error, OSError) else error)
            return
        if response is None:
            if connection.exchange is not None:
                self._watch(connection, connection.exchange.events)
            return
        done = connection.done
        self._retire(connection, reusable=response.reusable)
        done(response)

    def _retire(self, connection: EndpointConnection, *, reusable: bool) -> None:
        """Keep a connection whose exchange is complete, or close it."""
        if not reusable or connection.route is not self._route or len(self._idle) >= self._width:
            self.drop(connection)
            return
        connection.exchange, connection.done = None, _ignore
        connection.served = True
        connection.idle_since = time.monotonic()
        self._watch(connection, event_loop.READ)
        self._idle.append(connection)
        if self._sweep_timer is None:
            self._sweep_at(connection.idle_since + self._idle_timeout_s)

    def _watch(self, connection: EndpointConnection, events: int) -> None:
        if events != connection.events:
            connection.events = events
            self._loop.change(connection.descriptor, events, connection.ready)

    def _sweep_at(self, at: float) -> None:
        at = max(at, time.monotonic() + _LEAST_SWEEP_S)
        self._sweep_timer = self._loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        """Close the connections that were idle for too long."""
        self._sweep_timer = None
        now = time.monotonic()
        for connection in [one for one in self._idle if now - one.idle_since > self._idle_timeout_s]:
            self._idle.remove(connection)
            self.drop(connection)
        if self._idle:
            self._sweep_at(min(one.idle_since for one in self._idle) + self._idle_timeout_s)


def _ignore(_result: Result) -> None:
    pass


def _nothing() -> None:
    pass
