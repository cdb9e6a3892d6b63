"""A minimal endpoint, so that the benchmark measures Beacon.

It answers every request with 204 and keeps its body and arrival time, which are evaluated later. It only supports the
requests of Beacon's notifier: one at a time on a connection, with a Content-Length.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

from beacon import codec
from beacon.dev import testkit

Arrival = tuple[float, bytes]  # seconds since 1970, body

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


class Sink:
    """Accepts requests; `arrived` lists (seconds since 1970, body) in order."""

    def __init__(self) -> None:
        self.arrived: list[Arrival] = []
        self._loop = uvloop.new_event_loop()
        self._listening: asyncio.AbstractServer | None = None
        self._lines: set[_Line] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Return the URL."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)

    def close(self) -> None:
        """Stop permanently."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def distinct(self, after: int = 0) -> int:
        """Return the number of different events that have arrived."""
        return len({codec.decode(body)["id"] for _, body in self.arrived[after:]})

    def wait_for(self, count: int, *, timeout: float) -> None:
        """Wait until this number of requests has arrived."""
        testkit.until(lambda: len(self.arrived) >= count, f"{count} requests", timeout=timeout)

    async def _open(self) -> None:
        bound = socket.create_server(("127.0.0.1", self.port))
        self.port = bound.getsockname()[1]
        self._listening = await self._loop.create_server(self._line, sock=bound)

    async def _shut(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for line in list(self._lines):
            line.cut()

    def _line(self) -> "_Line":
        return _Line(self.arrived.append, self._lines)


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, take: Callable[[Arrival], None], lines: "set[_Line]") -> None:
        self._take = take
        self._lines = lines
        self._data = b""
        self._transport: Any = None  # uvloop's own kind

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._lines.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._lines.discard(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, rest = head.lower().partition(_LENGTH)
        if len(body) >= int(rest.partition(b"\r\n")[0]):
            self._take((time.time(), body))
            self._data = b""
            self._transport.write(_ANSWER)

    def cut(self) -> None:
        self._transport.abort()


@contextlib.contextmanager
def running() -> Iterator[Sink]:
    """Run a sink."""
    sink = Sink()
    try:
        yield sink
    finally:
        sink.close()
