"""The listening TCP port: GET and HEAD of a few paths, each answered by a function.

One thread per connection, bounded; a request must arrive whole within a deadline, and when there are too many
connections the oldest gives way, so that no slow client keeps a probe waiting. No keep-alive: a scrape or a probe is
one request. What the paths answer is the routes' business.
"""

import errno
import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from beacon import errors, slim

slim.unrun("ssl")  # the library's HTTP wants it for HTTPS, which is not served here: 1 MB
from http import HTTPStatus, server  # noqa: E402

_DEADLINE_S = 5.0
_MOST_CONNECTIONS = 32
_LONGEST_HEAD = 16_384
_PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a route answers."""

    status: HTTPStatus
    content_type: str
    body: bytes


Route = Callable[[str], Answer]  # given the Accept header


def plain(status: HTTPStatus, text: str) -> Answer:
    """Answer with a line of plain text."""
    return Answer(status=status, content_type=_PLAIN, body=f"{text}\n".encode())


class Endpoint(socketserver.ThreadingTCPServer):
    """Serves routes on one port."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, key: str, routes: Mapping[str, Route], *, host: str = "") -> None:
        """Listen on every address of both families, where there are two; `key` names the port in errors.

        Raises:
            errors.StartError: the port can't be had.
        """
        self.routes = dict(routes)
        self._open: dict[socket.socket, None] = {}  # in the order in which they came
        self._open_lock = threading.Lock()
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listen(host, port, key, backlog=self.request_queue_size)
        self.server_address = self.socket.getsockname()

    @property
    def port(self) -> int:
        """The port, also when the system chose it."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection; the oldest gives way to it when there are too many."""
        with self._open_lock:
            self._open[request] = None
            crowd = len(self._open) - _MOST_CONNECTIONS
            for oldest in list(self._open)[: max(0, crowd)]:
                _cut(oldest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Let an error end the process: what clients do to their connections is dealt with before it comes here.

        Raises:
            BaseException: the error that is being handled.
        """
        raise  # noqa: PLE0704  the caller handles it right now


class _Handler(server.BaseHTTPRequestHandler):
    """Reads one request within its deadline and answers it."""

    server: Endpoint
    timeout = _DEADLINE_S  # of the answer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        head = _read_head(self.request, time.monotonic() + _DEADLINE_S)
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(head))

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()
        self.close_connection = True

    def do_GET(self) -> None:
        self._answer(self._find())

    def do_HEAD(self) -> None:
        self._answer(self._find())

    def __getattr__(self, name: str) -> Any:
        """Refuse every other method."""
        if name.startswith("do_"):
            return lambda: self._answer(plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD"))
        raise AttributeError(name)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        status = HTTPStatus(code)
        self._answer(plain(status, message or status.phrase))

    def version_string(self) -> str:
        return "beacon"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a probe every few seconds is no news."""

    def _find(self) -> Answer:
        route = self.server.routes.get(self.path.partition("?")[0])
        if route is None:
            return plain(HTTPStatus.NOT_FOUND, f"there is {', '.join(sorted(self.server.routes))}")
        return route(self.headers.get("Accept", ""))

    def _answer(self, answer: Answer) -> None:
        self.request_version = self.protocol_version  # or a request that makes no sense gets an answer without status
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        with suppress(OSError):  # the client has gone: nobody is left to be answered
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)


def _read_head(connection: socket.socket, deadline: float) -> bytes:
    """Read up to the empty line that ends a request's head; what comes after it is not wanted."""
    head = b""
    with suppress(OSError):  # it went away, or was too slow: what there is of the head is no request
        while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= _LONGEST_HEAD:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            data = connection.recv(4096)
            if not data:
                return b""
            head += data
        return head
    return b""


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it has just ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def _listen(host: str, port: int, key: str, *, backlog: int) -> socket.socket:
    dual = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=dual)
    except OSError as error:
        if dual and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return _listen("0.0.0.0", port, key, backlog=backlog)
        raise _start_error(error, port, key) from error


def _start_error(error: OSError, port: int, key: str) -> errors.StartError:
    if error.errno == errno.EADDRINUSE:
        return errors.StartError(f"port {port} ({key}) is in use", exit_code=errors.EXIT_TEMPORARY)
    if error.errno == errno.EACCES:
        message = f"port {port} ({key}) needs a privilege that this process doesn't have: choose one above 1023"
        return errors.StartError(message, exit_code=errors.EXIT_CONFIG)
    return errors.StartError(f"can't listen on port {port} ({key}): {error}", exit_code=errors.EXIT_TEMPORARY)
