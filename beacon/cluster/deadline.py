"""A time limit for a whole response, from its first byte to its last.

A socket's timeout applies to each read separately, so a response that arrives byte by byte never exceeds it. Here the
timeout of each read is the time that is left for the whole: all bytes of head and body pass this reader, those of a
proxy's response included. Source: http.client, `HTTPConnection.response_class`; urllib3,
`PoolManager.pool_classes_by_scheme`.
"""

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import urllib3


class BoundedReader(io.RawIOBase):
    """Reads from a socket within a time limit: the socket's timeout at the time when the reader is created."""

    def __init__(self, taken: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the time limit."""
        self.socket = taken
        self._raw: Any = taken.makefile("rb", buffering=0)
        self._clock = clock
        limit_s = taken.gettimeout()
        self._until = None if limit_s is None else clock() + limit_s

    def release(self) -> socket.socket:
        """End the time limit and return the socket, whose own timeout applies from now on."""
        self._until = None
        return self.socket

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read the available bytes, waiting for them within the time limit.

        Raises:
            TimeoutError: the time limit is exceeded.
        """
        if self._until is not None:
            left_s = self._until - self._clock()
            if left_s <= 0:
                raise TimeoutError("the response was not complete in time")
            self.socket.settimeout(left_s)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        """Close the reader; the socket itself stays open."""
        self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """A response whose head and body are read within the timeout that its socket has once the request is sent."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        """Read through a `BoundedReader`."""
        super().__init__(sock, *args, **kwargs)
        unbounded, self.fp = self.fp, io.BufferedReader(BoundedReader(sock))
        unbounded.close()


def hold(manager: urllib3.PoolManager) -> None:
    """Make the read timeout of every request through this manager apply to the whole response."""
    classes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _holding(pool) for scheme, pool in classes.items()}


def _holding(pool: type[Any]) -> type[Any]:
    connection = type("BoundedConnection", (pool.ConnectionCls,), {"response_class": BoundedResponse})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})
