"""An endpoint on a real socket whose behavior is a function of the test."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Received:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    @property
    def subject(self) -> str:
        """Return the object that the event is about."""
        return str(json.loads(self.body)["subject"])


@dataclass(slots=True)
class Reply:
    """The answer to a request, sent after `delay_s`."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


Behaviour = Callable[[Received, socket.socket], Reply | None]


class Endpoint:
    """Accepts connections, and answers requests with the reply of `behave`; None: `behave` has answered itself."""

    def __init__(self, behave: Behaviour | None = None, *, context: ssl.SSLContext | None = None) -> None:
        self.behave: Behaviour = behave or (lambda _request, _line: Reply())
        self.received: list[Received] = []
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._context = context
        self._lock = threading.Lock()
        self._lines: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self.port}/hook"

    def down(self) -> None:
        """Stop listening and drop every connection, like an endpoint that is down."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def up(self) -> None:
        """Listen again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def drop(self) -> None:
        """Close every open connection."""
        with self._lock:
            lines, self._lines = self._lines, []
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(line, self.connections), daemon=True).start()

    def _serve(self, line: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._context:
                line = self._context.wrap_socket(line, server_side=True)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._lines.append(line)
            reader = line.makefile("rb")
            while request := _read(reader, number):
                with self._lock:
                    self.received.append(request)
                    self.in_flight += 1
                    self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    reply = self.behave(request, line)
                    if reply is not None:
                        time.sleep(reply.delay_s)
                        line.sendall(render(reply))
                finally:
                    with self._lock:
                        self.in_flight -= 1
                if reply is None:
                    break
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()


def render(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Reason", *(f"{name}: {value}" for name, value in reply.headers.items())]
    if reply.status != 204:
        lines.append(f"Content-Length: {len(reply.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + reply.body


def _read(reader: object, number: int) -> Received | None:
    first = reader.readline()  # type: ignore[attr-defined]
    if not first:
        return None
    method, path, _ = first.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := reader.readline().decode().strip()) != "":  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))  # type: ignore[attr-defined]
    return Received(method, path, headers, body, time.monotonic(), number)
