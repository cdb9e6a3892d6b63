"""The HTTP server: answers GET and HEAD for a few paths on one port.

One thread handles the I/O of all connections without blocking; other threads compute the answers (`answering`). Each
stage of a connection has a deadline and a maximum number of connections. Slow or surplus connections are closed, oldest
first, so that no client delays a probe. A connection carries one request, which is enough for a scrape or a probe.
"""

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from beacon.exporter import answering, listening, request
from beacon.runtime import log

_PAUSE_S = 0.2  # pause after accepting failed: only waiting helps
_CHUNK = 4096
_ACCEPTED_AT_A_TIME = 64
_WORKERS = 2
_MOST_UNREAD = 65_536


class _Stage(StrEnum):
    """The event that a connection waits for."""

    READING = "reading"  # the rest of the request head
    ASKED = "asked"  # the answer
    SENDING = "sending"  # the client, to receive the answer
    LEAVING = "leaving"  # the client, to close: unread data would otherwise reset the connection and lose the answer


# An answer takes at most two snapshots, each of two seconds if the store does not answer.
_DEADLINES_S = {_Stage.READING: 5.0, _Stage.ASKED: 15.0, _Stage.SENDING: 10.0, _Stage.LEAVING: 2.0}
_MOST = {_Stage.READING: 192, _Stage.ASKED: 192, _Stage.SENDING: 32, _Stage.LEAVING: 64}


class _Connection:
    """One client connection."""

    __slots__ = ("due", "left", "reader", "socket", "stage", "unread")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.reader = request.HeadReader()
        self.stage: _Stage | None = None
        self.due = 0.0
        self.left = memoryview(b"")  # the unsent rest of the answer
        self.unread = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A thread that the server needs."""

    name: str
    run: Callable[[], None]


class HttpEndpoint:
    """Serves routes on one port; each of `threads` must run in its own thread."""

    def __init__(self, port: int, key: str, routes: Mapping[str, answering.Route], *, host: str = "") -> None:
        """Listen on all addresses, IPv6 and IPv4 if available; `key` names the port in errors.

        Raises:
            errors.StartError: the port can't be opened.
        """
        self._listener = listening.listen(host, port, key)
        self._listener.settimeout(0)
        self.port = int(self._listener.getsockname()[1])
        self.routes = tuple(sorted(routes))
        self._answering: dict[bytes, answering.Answering[_Connection]] = {
            path.encode(): answering.Answering(route, self._deliver) for path, route in routes.items()
        }
        self._selector = selectors.PollSelector()  # unlike epoll, registration needs no resource that may run out
        self._stages: dict[_Stage, dict[_Connection, None]] = {
            stage: {} for stage in _Stage
        }  # each ordered by deadline
        self._answered: deque[tuple[list[_Connection], answering.HttpAnswer]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, self._hand_out)
        self._accepts_from = 0.0  # monotonic
        self._accepting = False
        self._warned = False
        self._stopped = False

    @property
    def threads(self) -> tuple[Work, ...]:
        """Return the threads to run."""
        loop = Work(f"port-{self.port}", self.serve_forever)
        named = enumerate(route for route in self._answering.values() for _ in range(_WORKERS))
        return (loop, *(Work(f"answer-{self.port}-{number}", one.work) for number, one in named))

    def serve_forever(self) -> None:
        """Handle I/O until `shutdown`."""
        while not self._stopped:
            self._accept_or_not()
            for key, _ in self._selector.select(self._select_timeout_s()):
                key.data()
            self._expire()
        for stage in self._stages.values():
            for connection in list(stage):
                self._close(connection)

    def shutdown(self) -> None:
        """Make all threads return; callable from any thread."""
        self._stopped = True
        for route in self._answering.values():
            route.stop()
        os.eventfd_write(self._wake_fd, 1)

    def server_close(self) -> None:
        """Close the port; all threads must have returned."""
        self._selector.close()
        self._listener.close()
        os.close(self._wake_fd)

    def _accept_or_not(self) -> None:
        """Accept connections, unless too many wait for an answer or accepting has just failed."""
        wanted = time.monotonic() >= self._accepts_from and len(self._stages[_Stage.ASKED]) < _MOST[_Stage.ASKED]
        if wanted and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listener)
        self._accepting = wanted

    def _select_timeout_s(self) -> float | None:
        """Return the time until the next deadline, or None."""
        due = [next(iter(stage)).due for stage in self._stages.values() if stage]
        if self._accepts_from:
            due.append(self._accepts_from)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> None:
        self._accepts_from = 0.0
        for _ in range(_ACCEPTED_AT_A_TIME):
            try:
                accepted, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # the client has closed it already
            except OSError as error:
                self._pause(error)
                return
            accepted.settimeout(0)
            connection = _Connection(accepted)
            self._enter(connection, _Stage.READING, selectors.EVENT_READ)
            self._read(connection)

    def _pause(self, error: OSError) -> None:
        """Pause accepting, because file descriptors or memory are short; close the oldest unread connection."""
        self._accepts_from = time.monotonic() + _PAUSE_S
        if self._stages[_Stage.READING]:
            self._close(next(iter(self._stages[_Stage.READING])))
        if not self._warned:
            self._warned = True
            code = errno.errorcode.get(error.errno or 0, "")
            log.get().warning("accepting connections failed", port=self.port, error=code)

    def _read(self, connection: _Connection) -> None:
        data = _received(connection.socket)
        if data is None:
            return
        if not data:
            self._close(connection)
        elif connection.reader.feed(data):
            self._ask(connection)

    def _ask(self, connection: _Connection) -> None:
        """Answer a request, or queue it for its route, once its head is complete."""
        reader = connection.reader
        route = self._answering.get(reader.path)
        if reader.refusal is not None:
            text = "only GET and HEAD" if reader.refusal == HTTPStatus.METHOD_NOT_ALLOWED else reader.refusal.phrase
            self._begin(connection, _rendered(answering.plain(reader.refusal, text)))
        elif route is None:
            found = answering.plain(HTTPStatus.NOT_FOUND, f"available: {', '.join(self.routes)}")
            self._begin(connection, _rendered(found))
        else:
            self._enter(connection, _Stage.ASKED, 0)
            route.ask(connection, reader.accept)

    def _deliver(self, connections: list[_Connection], answer: answering.HttpAnswer) -> None:
        """Pass an answer to the I/O thread; called by the worker threads."""
        self._answered.append((connections, answer))
        os.eventfd_write(self._wake_fd, 1)

    def _hand_out(self) -> None:
        os.eventfd_read(self._wake_fd)
        while self._answered:
            connections, answer = self._answered.popleft()
            rendered = _rendered(answer)
            for connection in connections:
                if connection.stage is _Stage.ASKED:  # otherwise it has expired
                    self._begin(connection, rendered)

    def _begin(self, connection: _Connection, rendered: tuple[bytes, bytes]) -> None:
        head, whole = rendered
        connection.left = memoryview(head if connection.reader.bodiless else whole)
        self._enter(connection, _Stage.SENDING, selectors.EVENT_WRITE)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            connection.left = connection.left[connection.socket.send(connection.left) :]
            if not connection.left:
                connection.socket.shutdown(socket.SHUT_WR)
                self._enter(connection, _Stage.LEAVING, selectors.EVENT_READ)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _leave(self, connection: _Connection) -> None:
        """Read and discard data until the client closes."""
        data = _received(connection.socket)
        if data is not None:
            connection.unread += len(data)
            if not data or connection.unread > _MOST_UNREAD:
                self._close(connection)

    def _enter(self, connection: _Connection, stage: _Stage, events: int) -> None:
        """Move a connection to a stage; close the oldest one there if the stage is full, except in ASKED."""
        if connection.stage is not None:
            del self._stages[connection.stage][connection]
        if connection.stage not in (None, _Stage.ASKED):
            self._selector.unregister(connection.socket)
        moves = {_Stage.READING: self._read, _Stage.SENDING: self._send, _Stage.LEAVING: self._leave}
        if stage in moves:
            move = moves[stage]
            self._selector.register(connection.socket, events, lambda: self._move(connection, stage, move))
        if stage is not _Stage.ASKED and len(self._stages[stage]) >= _MOST[stage]:
            self._close(next(iter(self._stages[stage])))
        connection.stage, connection.due = stage, time.monotonic() + _DEADLINES_S[stage]
        self._stages[stage][connection] = None

    def _move(self, connection: _Connection, stage: _Stage, move: Callable[[_Connection], None]) -> None:
        if connection.stage is stage:  # otherwise an earlier event has closed or moved it
            move(connection)

    def _expire(self) -> None:
        now = time.monotonic()
        for stage in self._stages.values():
            while stage and (oldest := next(iter(stage))).due <= now:
                self._close(oldest)

    def _close(self, connection: _Connection) -> None:
        if connection.stage is None:
            return
        del self._stages[connection.stage][connection]
        if connection.stage is not _Stage.ASKED:
            self._selector.unregister(connection.socket)
        connection.stage = None
        connection.socket.close()


def _received(connected: socket.socket) -> bytes | None:
    """Return the available bytes: None if there are none, empty if the connection is closed."""
    try:
        return connected.recv(_CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _rendered(answer: answering.HttpAnswer) -> tuple[bytes, bytes]:
    """Render an answer. Return its head, and head and body."""
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        "Server: beacon",
        time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    head = "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"
    return head, head + answer.body
