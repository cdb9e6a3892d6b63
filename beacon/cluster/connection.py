"""Requests to the API server through the official client, their bodies left as bytes.

A 401 makes it read the credentials anew and ask once more; everything else that is not a 200 is the caller's.
One connection pool for all threads; safe to share.
"""

import email.errors
import http.client
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

import beacon
from beacon.cluster import credentials, deadline, failures, library, refusals

_RENEW_AGAIN_S = 5.0
_FAIL_AGAIN_S = 0.5  # many streams must not run a plugin that fails as often as all of them try

JSON = "application/json"

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
MOST = 4 * 1024 * 1024  # bytes of an answer: no object is larger, and lists are asked for in pages
_USER_AGENT = f"beacon/{beacon.VERSION}"
_MOST_OF_REFUSAL = 64 * 1024
_AT_ONCE = 64 * 1024
# What the library raises while it reads an answer, which comes from outside: http.client parses heads with the `email`
# package, and that raises whatever it meets (a multipart boundary in parts is a TypeError).
_UNREADABLE = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    library.ApiException,
    OSError,
    email.errors.MessageError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
Query = Sequence[tuple[str, str]]
_SHORTEST_S = 0.05
_Request = tuple[str, str, Query, str, Mapping[str, Any] | None]  # method, path, query, accept, body


class Connection:
    """The way to one API server."""

    def __init__(self, load: credentials.Load, *, connect_s: float = 5.0, read_s: float = 30.0) -> None:
        """Use the credentials that `load` gives; `read_s` is the longest time for a whole answer, however it comes."""
        self._load = load
        self._connect_s = connect_s
        self._read_s = read_s
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._used: _Used | None = None
        self._renew_again_at = 0.0
        self._failure: tuple[float, failures.Unreachable] | None = None  # of the last load, and when it ended

    def beat_with(self, beat: Callable[[], None]) -> None:
        """Call `beat` before each request of the calling thread: several that drip must not look like a hang."""
        self._mine.beat = beat

    def get(self, path: str, *, query: Query = (), accept: str = JSON, most: int = MOST) -> bytes:
        """Read a resource whole, if it has at most so many bytes.

        Raises:
            failures.Refused: another status than 200.
            failures.Unreachable: no answer.
            failures.Broken: it is compressed.
            failures.TooBig: it has more.
        """
        return self._body(self.open(path, query=query, accept=accept), most)

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Put a question that is asked by creating something, and return the answer; nothing of it is kept.

        Raises:
            failures.Refused: another status than 201.
            failures.Unreachable: no answer.
            failures.TooBig: it is longer than the answer to a question can be.
        """
        return self._body(self._ask("POST", path, expected=201, body=body), MOST)

    def open(self, path: str, *, query: Query = (), accept: str = JSON) -> urllib3.BaseHTTPResponse:
        """Send a GET and return the answer with its body still to be read; the caller closes it.

        The body belongs to the answer, whose time is limited; who takes the connection over ends that
        (`deadline.Reader.release`).

        Raises:
            failures.Refused: another status than 200.
            failures.Unreachable: no answer.
        """
        return self._ask("GET", path, expected=200, query=query, accept=accept)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        expected: int,
        query: Query = (),
        accept: str = JSON,
        body: Mapping[str, Any] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        until = time.monotonic() + self._read_s
        used = self._current()
        request = (method, path, query, accept, body)
        response = self._send(used, request, until)
        if response.status == 401:
            self._beginning(response)
            response = self._send(self._renewed(used), request, until)
        if response.status != expected:
            said = self._beginning(response)
            raise refusals.refusal(response.status, said, response.headers.get("Retry-After"))
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            response.close()
            raise failures.Broken("the API server compressed its answer, which was not asked for")
        return response

    def _send(self, used: "_Used", request: _Request, until: float) -> urllib3.BaseHTTPResponse:
        getattr(self._mine, "beat", _no_beat)()
        method, path, query, accept, body = request
        url = used.access.server + path + (f"?{urlencode(query, safe='/', quote_via=quote)}" if query else "")
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "Accept-Encoding": "identity", "User-Agent": _USER_AGENT})
        headers.extend(used.access.headers)
        if body is not None:
            headers["Content-Type"] = JSON
        left_s = max(until - time.monotonic(), _SHORTEST_S)  # a second try after a 401 has no time of its own
        try:
            answer = used.client.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=(min(self._connect_s, left_s), left_s)
            )
        except _UNREADABLE as error:
            if isinstance(error, library.ApiException):
                self._forget(used)  # TLS: the certificates may have been replaced
            by = f" by the proxy {used.access.proxy.url}" if used.access.proxy else ""
            raise failures.Unreachable(f"{used.access.server} does not answer{by}: {_words(error)}") from error
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _body(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """Read an answer to its end, in pieces, so that no more than `most` of it is ever in memory."""
        parts: list[bytes] = []
        size = 0
        try:
            while part := response.read(_AT_ONCE, decode_content=False):
                parts.append(part)
                size += len(part)
                if size > most:
                    response.close()
                    raise failures.TooBig(f"an answer of the API server has more than {most} bytes")
        except _UNREADABLE as error:
            response.close()
            raise failures.Unreachable(f"the answer broke off: {_words(error)}") from error
        finally:
            response.release_conn()
        return b"".join(parts)

    def _beginning(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Read an answer that refuses; of one that is too long only the status counts."""
        try:
            return self._body(response, _MOST_OF_REFUSAL)
        except failures.TooBig:
            return b""

    def _current(self) -> "_Used":
        """Return what is in force; loaded anew when a file has changed or the credentials near their end."""
        asked_at = time.monotonic()
        with self._lock:
            used = self._used
            if used is None:
                used = self._used = self._load_once(asked_at)
            elif time.monotonic() >= self._renew_again_at and used.access.is_stale():
                used = self._used = self._renew(used)
            if used.access.has_expired():
                used = self._used = self._load_once(asked_at)
            return used

    def _renew(self, used: "_Used") -> "_Used":
        """Load anew, or go on with what works: files are half-written while a secret is replaced."""
        try:
            return self._load_once(time.monotonic())
        except failures.Unreachable:
            self._renew_again_at = time.monotonic() + _RENEW_AGAIN_S
            return used

    def _load_once(self, asked_at: float) -> "_Used":
        """Load the credentials; a failure is shared by the threads that waited for it, as a plugin may take long."""
        if self._failure is not None and self._failure[0] >= asked_at - _FAIL_AGAIN_S:
            raise failures.Unreachable(str(self._failure[1]))
        try:
            return _Used(self._load())
        except failures.Unreachable as error:
            self._failure = time.monotonic(), error
            raise

    def _renewed(self, used: "_Used") -> "_Used":
        self._forget(used)
        return self._current()

    def _forget(self, used: "_Used") -> None:
        """Read the credentials anew next time, unless another thread has done so since."""
        with self._lock:
            if self._used is used:
                self._used = None


class _Used:
    """One reading of the credentials, and the connections that are made with it."""

    def __init__(self, access: credentials.Access) -> None:
        self.access = access
        self.client = library.client(access)
        deadline.hold(self.client.pool_manager)


def _no_beat() -> None:
    """Do nothing: commands have no heartbeat."""


def _words(error: BaseException) -> str:
    """Say what is at the bottom of a nested network error."""
    bottom: BaseException | None = error
    best = " ".join(str(getattr(error, "reason", "") or error).split())
    seen: list[Any] = []
    while bottom is not None and bottom not in seen:
        seen.append(bottom)
        if isinstance(bottom, TimeoutError):
            return "no answer in time"
        if isinstance(bottom, OSError) and bottom.strerror:
            best = bottom.strerror
        bottom = bottom.__cause__ or bottom.__context__
    return best or type(error).__name__
