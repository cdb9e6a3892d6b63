"""The listening TCP port: GET and HEAD of a few paths, each answered by a function.

One thread moves the bytes of all connections and never waits for one of them; the answers are made elsewhere
(`answering`). Each stage of a connection has a deadline and a bound, and what is too slow or too much is closed, the
oldest first, so that no client keeps a probe waiting. A connection carries one request: a scrape or a probe is no more.
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

_PAUSE_S = 0.2  # after accepting has failed; nothing but time helps then
_CHUNK = 4096
_ACCEPTED_AT_A_TIME = 64
_WORKERS = 2
_MOST_UNREAD = 65_536


class _Stage(StrEnum):
    """What a connection waits for."""

    READING = "reading"  # the rest of its head
    ASKED = "asked"  # the answer
    SENDING = "sending"  # the client, to take the answer
    LEAVING = "leaving"  # the client, to close: what it sends meanwhile would else reset the answer on its way


# An answer takes two views at most, of two seconds each while the store is silent.
_DEADLINES_S = {_Stage.READING: 5.0, _Stage.ASKED: 15.0, _Stage.SENDING: 10.0, _Stage.LEAVING: 2.0}
_MOST = {_Stage.READING: 192, _Stage.ASKED: 192, _Stage.SENDING: 32, _Stage.LEAVING: 64}


class _Connection:
    """One client."""

    __slots__ = ("due", "left", "reader", "socket", "stage", "unread")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.reader = request.HeadReader()
        self.stage: _Stage | None = None
        self.due = 0.0
        self.left = memoryview(b"")  # what is still to be sent
        self.unread = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A thread that serving needs."""

    name: str
    run: Callable[[], None]


class HttpEndpoint:
    """Serves routes on one port; each of `threads` must run in a thread of its own."""

    def __init__(self, port: int, key: str, routes: Mapping[str, answering.Route], *, host: str = "") -> None:
        """Listen on every address of both families, where there are two; `key` names the port in errors.

        Raises:
            errors.StartError: the port can't be had.
        """
        self._listener = listening.listen(host, port, key)
        self._listener.settimeout(0)
        self.port = int(self._listener.getsockname()[1])
        self.routes = tuple(sorted(routes))
        self._answering: dict[bytes, answering.Answering[_Connection]] = {
            path.encode(): answering.Answering(route, self._deliver) for path, route in routes.items()
        }
        self._selector = selectors.PollSelector()  # unlike epoll, to register with it needs nothing that may run out
        self._stages: dict[_Stage, dict[_Connection, None]] = {stage: {} for stage in _Stage}  # each in order of due
        self._answered: deque[tuple[list[_Connection], answering.HttpAnswer]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, self._hand_out)
        self._accepts_from = 0.0  # monotonic
        self._accepting = False
        self._complained = False
        self._stopped = False

    @property
    def threads(self) -> tuple[Work, ...]:
        """Return what must run."""
        loop = Work(f"port-{self.port}", self.serve_forever)
        named = enumerate(route for route in self._answering.values() for _ in range(_WORKERS))
        return (loop, *(Work(f"answer-{self.port}-{number}", one.work) for number, one in named))

    def serve_forever(self) -> None:
        """Move bytes until `shutdown`."""
        while not self._stopped:
            self._accept_or_not()
            for key, _ in self._selector.select(self._patience_s()):
                key.data()
            self._expire()
        for stage in self._stages.values():
            for connection in list(stage):
                self._close(connection)

    def shutdown(self) -> None:
        """Let all threads return; from any thread."""
        self._stopped = True
        for route in self._answering.values():
            route.stop()
        os.eventfd_write(self._wake_fd, 1)

    def server_close(self) -> None:
        """Free the port; all threads must have returned."""
        self._selector.close()
        self._listener.close()
        os.close(self._wake_fd)

    def _accept_or_not(self) -> None:
        """Listen unless too many wait for an answer already, or accepting failed a moment ago."""
        wanted = time.monotonic() >= self._accepts_from and len(self._stages[_Stage.ASKED]) < _MOST[_Stage.ASKED]
        if wanted and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listener)
        self._accepting = wanted

    def _patience_s(self) -> float | None:
        """Compute how long nothing is due."""
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
                continue  # it has left again
            except OSError as error:
                self._pause(error)
                return
            accepted.settimeout(0)
            connection = _Connection(accepted)
            self._enter(connection, _Stage.READING, selectors.EVENT_READ)
            self._read(connection)

    def _pause(self, error: OSError) -> None:
        """Accept nothing for a moment: files or memory are short. The oldest that waits gives its own back."""
        self._accepts_from = time.monotonic() + _PAUSE_S
        if self._stages[_Stage.READING]:
            self._close(next(iter(self._stages[_Stage.READING])))
        if not self._complained:
            self._complained = True
            code = errno.errorcode.get(error.errno or 0, "")
            log.get().warning("connections could not be accepted", port=self.port, error=code, repeats="not logged")

    def _read(self, connection: _Connection) -> None:
        data = _received(connection.socket)
        if data is None:
            return
        if not data:
            self._close(connection)
        elif connection.reader.feed(data):
            self._ask(connection)

    def _ask(self, connection: _Connection) -> None:
        """Have a request answered whose head has ended."""
        reader = connection.reader
        route = self._answering.get(reader.path)
        if reader.refusal is not None:
            text = "only GET and HEAD" if reader.refusal == HTTPStatus.METHOD_NOT_ALLOWED else reader.refusal.phrase
            self._begin(connection, _rendered(answering.plain(reader.refusal, text)))
        elif route is None:
            found = answering.plain(HTTPStatus.NOT_FOUND, f"there is {', '.join(self.routes)}")
            self._begin(connection, _rendered(found))
        else:
            self._enter(connection, _Stage.ASKED, 0)
            route.ask(connection, reader.accept)

    def _deliver(self, connections: list[_Connection], answer: answering.HttpAnswer) -> None:
        """Hand an answer over; called by the threads that make them."""
        self._answered.append((connections, answer))
        os.eventfd_write(self._wake_fd, 1)

    def _hand_out(self) -> None:
        os.eventfd_read(self._wake_fd)
        while self._answered:
            connections, answer = self._answered.popleft()
            rendered = _rendered(answer)
            for connection in connections:
                if connection.stage is _Stage.ASKED:  # else it was given up meanwhile
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
        """Read what is not wanted, until the client closes."""
        data = _received(connection.socket)
        if data is not None:
            connection.unread += len(data)
            if not data or connection.unread > _MOST_UNREAD:
                self._close(connection)

    def _enter(self, connection: _Connection, stage: _Stage, events: int) -> None:
        """Begin a stage; the oldest in it gives way when there are too many. Those that were asked for are answered."""
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
        if connection.stage is stage:  # else an event before this one has closed it, or moved it on
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
    """Read what there is: None when nothing is, empty when the client is gone."""
    try:
        return connected.recv(_CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _rendered(answer: answering.HttpAnswer) -> tuple[bytes, bytes]:
    """Write an answer: its head alone, and all of it."""
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
