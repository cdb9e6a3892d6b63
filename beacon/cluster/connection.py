"""Requests to the API server through the official client; response bodies are returned as bytes.

After a 401 the credentials are reloaded and the request is sent once more. Any other status than the expected one is
raised. All threads may share one `Connection` and its connection pool.
"""

import email.errors
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

import urllib3

import beacon
from beacon.cluster import credentials, deadline, failures, library, refusals

_RENEW_AGAIN_S = 5.0
_FAIL_AGAIN_S = 0.5  # threads that load within this time share a failure: each would run a failing plugin again

JSON = "application/json"

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
MOST = 4 * 1024 * 1024  # bytes of a response: no object is larger, and lists are read in pages
_USER_AGENT = f"beacon/{beacon.VERSION}"
_MOST_OF_REFUSAL = 64 * 1024
_AT_ONCE = 64 * 1024
# All exceptions of the library while it reads a response: http.client parses heads with the `email` package, which
# raises various exceptions for malformed input (a multipart boundary in several parts is a TypeError).
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
# X509_V_ERR_ of OpenSSL: the issuer is unknown, has another signature or key, or is no authority.
_UNTRUSTED = frozenset({2, 7, 18, 19, 20, 21, 24, 79})
_Request = tuple[str, str, Query, str, Mapping[str, object] | None]  # method, path, query, accept, body


class Connection:
    """A client of one API server."""

    def __init__(self, load: credentials.Load, *, connect_s: float = 5.0, read_s: float = 30.0) -> None:
        """Use the credentials that `load` returns; `read_s` limits the time until a whole response has been read."""
        self._load = load
        self._connect_s = connect_s
        self._read_s = read_s
        self._local = threading.local()
        self._lock = threading.Lock()
        self._used: _LoadedAccess | None = None
        self._renew_again_at = 0.0
        self._failure: tuple[float, failures.Unreachable] | None = None  # when the last load failed, and why
        self._account = "the account"

    @property
    def account(self) -> str:
        """Return the kind of account that the last credentials belong to, as the subject of a sentence."""
        return self._account

    def set_heartbeat(self, beat: Callable[[], None]) -> None:
        """Call `beat` before each request of the calling thread: a series of slow requests is no hang."""
        self._local.beat = beat

    def close_idle(self) -> None:
        """Close the connections that carry no request now; the next requests open new ones."""
        with self._lock:
            used = self._used
        if used is not None:
            used.client.pool_manager.clear()

    def get(self, path: str, *, query: Query = (), accept: str = JSON, most: int = MOST) -> bytes:
        """Return the body of a GET, if it has at most `most` bytes.

        Raises:
            failures.ApiRefused: another status than 200.
            failures.Unreachable: no response.
            failures.Broken: the response is compressed.
            failures.TooBig: the body has more bytes.
        """
        return self._body(self.open(path, query=query, accept=accept), most)

    def post(self, path: str, body: Mapping[str, object]) -> bytes:
        """Return the body of the response to a POST, for requests that store nothing, such as an access review.

        Raises:
            failures.ApiRefused: another status than 201.
            failures.Unreachable: no response.
            failures.TooBig: the body has more than `MOST` bytes.
        """
        return self._body(self._ask("POST", path, expected=201, body=body), MOST)

    def open(self, path: str, *, query: Query = (), accept: str = JSON) -> urllib3.BaseHTTPResponse:
        """Send a GET and return the response before its body is read; the caller closes it.

        The time limit covers the body, too, unless the caller takes over the socket
        (`deadline.BoundedReader.release`).

        Raises:
            failures.ApiRefused: another status than 200.
            failures.Unreachable: no response.
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
        body: Mapping[str, object] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        until = time.monotonic() + self._read_s
        used = self._current()
        request = (method, path, query, accept, body)
        response = self._send(used, request, until)
        if response.status == 401:
            self._read_refusal(response)
            response = self._send(self._renewed(used), request, until)
        if response.status != expected:
            body_start = self._read_refusal(response)
            raise refusals.refusal(response.status, body_start, response.headers.get("Retry-After"))
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            response.close()
            raise failures.Broken("the API server sent a compressed response, which was not requested")
        return response

    def _send(self, used: "_LoadedAccess", request: _Request, until: float) -> urllib3.BaseHTTPResponse:
        getattr(self._local, "beat", _no_beat)()
        method, path, query, accept, body = request
        url = used.access.server + path + (f"?{urlencode(query, safe='/', quote_via=quote)}" if query else "")
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "Accept-Encoding": "identity", "User-Agent": _USER_AGENT})
        headers.extend(used.access.headers)
        if body is not None:
            headers["Content-Type"] = JSON
        left_s = max(until - time.monotonic(), _SHORTEST_S)  # a retry after a 401 shares the time limit
        try:
            answer = used.client.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=(min(self._connect_s, left_s), left_s)
            )
        except _UNREADABLE as error:
            if isinstance(error, library.ApiException):
                self._discard(used)  # TLS: the certificates may have been replaced
            by = f" by the proxy {used.access.proxy.url}" if used.access.proxy else ""
            why = _cause_text(error)
            if _is_untrusted(error):
                why += f"; trusted: {used.access.authorities}"
            raise failures.Unreachable(f"{used.access.server} does not answer{by}: {why}") from error
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _body(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """Read a response to its end, in pieces, so that no more than `most` bytes of it are in memory."""
        parts: list[bytes] = []
        size = 0
        try:
            while part := response.read(_AT_ONCE, decode_content=False):
                parts.append(part)
                size += len(part)
                if size > most:
                    response.close()
                    raise failures.TooBig(f"a response of the API server has more than {most} bytes")
        except _UNREADABLE as error:
            response.close()
            raise failures.Unreachable(f"the response broke off: {_cause_text(error)}") from error
        finally:
            response.release_conn()
        return b"".join(parts)

    def _read_refusal(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Return the body of a refusal, or nothing if it is too long."""
        try:
            return self._body(response, _MOST_OF_REFUSAL)
        except failures.TooBig:
            return b""

    def _current(self) -> "_LoadedAccess":
        """Return the credentials in use; reload them if a file has changed or they are about to expire."""
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

    def _renew(self, used: "_LoadedAccess") -> "_LoadedAccess":
        """Reload, or keep the credentials in use if that fails: files are incomplete while a secret is replaced."""
        try:
            return self._load_once(time.monotonic())
        except failures.Unreachable:
            self._renew_again_at = time.monotonic() + _RENEW_AGAIN_S
            return used

    def _load_once(self, asked_at: float) -> "_LoadedAccess":
        """Load the credentials; threads that waited for a load share its failure, because a plugin may take long."""
        if self._failure is not None and self._failure[0] >= asked_at - _FAIL_AGAIN_S:
            raise failures.Unreachable(str(self._failure[1]))
        try:
            loaded = _LoadedAccess(self._load())
        except failures.Unreachable as error:
            self._failure = time.monotonic(), error
            raise
        self._account = loaded.access.account
        return loaded

    def _renewed(self, used: "_LoadedAccess") -> "_LoadedAccess":
        self._discard(used)
        return self._current()

    def _discard(self, used: "_LoadedAccess") -> None:
        """Make the next request reload the credentials, unless another thread has done so since."""
        with self._lock:
            if self._used is used:
                self._used = None


class _LoadedAccess:
    """Credentials loaded once, and the connection pool that uses them."""

    def __init__(self, access: credentials.Access) -> None:
        self.access = access
        self.client = library.client(access)
        deadline.hold(self.client.pool_manager)


def _no_beat() -> None:
    """Do nothing: commands have no heartbeat."""


def _cause_text(error: BaseException) -> str:
    """Return the text of the innermost cause of a network error."""
    best = " ".join(str(getattr(error, "reason", "") or error).split())
    for cause in _chain(error):
        if isinstance(cause, TimeoutError):
            return "no response in time"
        if isinstance(cause, OSError) and cause.strerror:
            best = cause.strerror
    return best or type(error).__name__


def _is_untrusted(error: BaseException) -> bool:
    """Return True if no trusted authority has issued the server's certificate."""
    causes = (cause for cause in _chain(error) if isinstance(cause, ssl.SSLCertVerificationError))
    return any(cause.verify_code in _UNTRUSTED for cause in causes)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__
