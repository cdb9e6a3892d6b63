"""Limits the time of a whole response, and closes a connection that received more than one response.

A socket's timeout applies to each read separately, so a response that arrives byte by byte never exceeds it. Here the
timeout of each read is the time that is left for the whole: all bytes of head and body pass this reader, those of a
proxy's response included. Source: http.client, `HTTPConnection.response_class`; urllib3,
`PoolManager.pool_classes_by_scheme`.
"""

import contextlib
import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import urllib3

from beacon.boundary import idle_socket


class BoundedReader(io.RawIOBase):
    """Reads from a socket within a time limit: the socket's timeout at the time when the reader is created."""

    def __init__(self, taken: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time limit."""
        self.socket = taken
        self._raw: socket.SocketIO = taken.makefile("rb", buffering=0)
        self._clock = clock
        limit_s = taken.gettimeout()
        self._until = None if limit_s is None else clock() + limit_s
        self._stopped = False

    def release(self) -> socket.socket:
        """End the time limit and return the socket, whose own timeout applies from now on."""
        self._until = None
        return self.socket

    def stop(self) -> None:
        """Read no more from the socket."""
        self._stopped = True

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read the available bytes, waiting for them within the time limit.

        Raises:
            TimeoutError: the time limit is exceeded.
        """
        if self._stopped:
            return 0
        if self._until is not None:
            left_s = self._until - self._clock()
            if left_s <= 0:
                raise TimeoutError("the response was not complete in time")
            self.socket.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the reader; the socket itself stays open."""
        self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """A response whose head and body are read within the timeout that its socket has once the request is sent."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        """Read through a `BoundedReader`."""
        super().__init__(sock, debuglevel, method, url)
        self._bounded = BoundedReader(sock)
        unbounded, self.fp = self.fp, io.BufferedReader(self._bounded)
        unbounded.close()

    def _close_conn(self) -> None:
        """End the response; a connection with surplus bytes must not carry another request."""
        self._bounded.stop()
        if self.fp.peek(1):
            with contextlib.suppress(OSError):
                self._bounded.socket.shutdown(socket.SHUT_RDWR)
        super()._close_conn()  # type: ignore[misc]  # http.client's own, called when a response is complete


class _Connection:
    """A mixin for urllib3's connections: the check before reuse also sees bytes that TLS has buffered."""

    response_class = BoundedResponse

    @property
    def is_connected(self) -> bool:
        """Return True if the other side has neither closed the connection nor sent unrequested bytes."""
        mine: Any = self
        return mine.sock is not None and not idle_socket.has_pending(mine.sock) and bool(super().is_connected)  # type: ignore[misc]


def hold(manager: urllib3.PoolManager) -> None:
    """Make the read timeout of every request through this manager apply to the whole response."""
    classes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _holding(pool) for scheme, pool in classes.items()}


def _holding(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    connection = type("BoundedConnection", (_Connection, pool.ConnectionCls), {})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})
