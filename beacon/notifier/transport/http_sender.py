"""The transport: sends one HTTP request to the endpoint within a total deadline, with requests.

It knows nothing about deliveries and retries. It never raises for a failure of the endpoint or the network, because
each outcome is an answer. It does not follow redirects: a 302 would turn a POST into a GET. Only the status,
Retry-After and a short masked text of a response leave this module.

It reads the proxy variables of the environment once, and nothing else: a CA bundle from the environment would override
the configured one.
"""

import logging
import os
import random
import ssl
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from urllib3 import connectionpool, exceptions
from urllib3.util import Retry, Timeout

from beacon import errors
from beacon.boundary import proxies
from beacon.notifier.transport import answer, connection, deadline, exchange, masking, response_parser, tls_context

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"  # structured mode
_CONNECTION_HEADERS = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OWN_HEADERS = {"content-length", "content-type", "host", "x-beacon-event-id", "x-request-id"}
REFUSED_HEADERS = frozenset(_CONNECTION_HEADERS | _OWN_HEADERS)
_PORTS = {"http": 80, "https": 443}
_NEVER_AGAIN = Retry(total=False, redirect=False, raise_on_status=False)
_UNSENDABLE = "the token or a configured header holds characters that can't be sent"
_NO_TIMEOUT = Timeout(connect=None, read=None)  # the watchdog's total deadline replaces both


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The address of the endpoint, and how to send requests to it.

    `width` is the number of concurrent requests; `agent` is the User-Agent; a connection that was idle for
    `idle_timeout_s` is not reused.
    """

    url: str = field(repr=False)  # its query may contain a secret
    method: str
    agent: str
    width: int
    idle_timeout_s: float = 50.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tls_context.TlsFiles = field(default_factory=tls_context.TlsFiles)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """A connection pool and its request target."""

    adapter: connection.Adapter
    pool: connectionpool.HTTPConnectionPool
    path: str


@dataclass(frozen=True, slots=True)
class _Message:
    body: bytes
    event_id: str
    request_id: str
    token: str


class HttpSender:
    """Sends requests to one endpoint; safe for any number of threads."""

    def __init__(
        self,
        target: Target,
        *,
        token: Callable[[], str],
        watchdog: deadline.Watchdog,
        on_tls_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Create a sender; it opens no connection yet. `token` returns the current bearer token, "" for none.

        `on_tls_error` is called with the reason when the TLS files can't be used.

        Raises:
            errors.ConfigError: the proxy variables of the environment are invalid.
        """
        self._target = target
        self._token = token
        self._watchdog = watchdog
        self._on_tls_error = on_tls_error
        self._resolver = connection.Resolver()
        self._tls_contexts = tls_context.TlsContexts(target.files)
        self._lock = threading.Lock()
        self._prepared = requests.Request(target.method, target.url).prepare()
        self._proxy = proxies.of_environment(os.environ, self._prepared.url or "")
        self._headers = {
            name: value.encode("utf-8")
            for name, value in target.headers.items()
            if name.strip().lower() not in REFUSED_HEADERS
        }
        used = (self._proxy.text,) if self._proxy else ()
        self.secrets = masking.of_request(target.url, target.headers, used)
        self.secrets += masking.of_request(self._prepared.url or "", {}, ())  # as sent
        self._random = random.Random()  # noqa: S311  for request ids, without a system call for each
        self._route: _Route | None = None
        self._form: tuple[str, exchange.RequestTemplate] | None = None  # with the token that it contains
        self._tls_error = ""
        _silence_libraries(verify=target.files.verify)

    def send(self, body: bytes, *, event_id: str, timeout_s: float) -> answer.EndpointAnswer:
        """Send one request and wait up to `timeout_s` for the complete answer."""
        request_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        started_us = time.time_ns() // 1000
        started = time.monotonic()
        token = self._token()
        call = self._watchdog.begin(started + timeout_s)
        try:
            code, status, text, retry_after = self._attempt(_Message(body, event_id, request_id, token), call)
        finally:
            self._watchdog.end(call)
        secrets = (*masking.forms((token,)), *self.secrets) if token and text else self.secrets
        return answer.EndpointAnswer(
            code=code,
            status=status,
            error=answer.clean(text, secrets=secrets) if text else "",
            retry_after=retry_after,
            started_us=started_us,
            duration_s=time.monotonic() - started,
            request_id=request_id,
        )

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            if self._route is not None:
                self._route.adapter.close()
                self._route = None

    def _attempt(self, message: _Message, call: deadline.Call) -> tuple[str, int, str, str | None]:
        """Return code, status, text and Retry-After."""
        try:
            route = self._current_route()
        except errors.TransientError as error:
            return answer.TLS, 0, str(error), None
        try:
            form = self._form_with(message.token, route)
        except ValueError:
            return answer.NETWORK, 0, _UNSENDABLE, None
        data = form.fill(message.request_id, message.event_id, message.body)
        try:
            return self._exchange(route, data, call)
        except (exceptions.HTTPError, OSError) as error:
            return _fault(error, call), 0, _describe(error, call), None

    def _exchange(self, route: _Route, data: bytes, call: deadline.Call) -> tuple[str, int, str, str | None]:
        """Send a request; repeat it once if a reused connection was closed before the request was sent."""
        try:
            reply = self._send_once(route, data)
        except (exceptions.HTTPError, OSError):
            if call.expired or call.cancelled or not _was_unsent(call):
                raise
            reply = self._send_once(route, data)
        if call.expired or call.cancelled:
            raise TimeoutError  # a body that ends with its connection would look complete
        return str(reply.status), reply.status, _text_of(reply), reply.headers.get("Retry-After")

    def _form_with(self, token: str, route: _Route) -> exchange.RequestTemplate:
        """Return the template of all requests with this token."""
        known = self._form
        if known is None or known[0] != token:
            known = self._form = token, self._make_form(token, route)
        return known[1]

    def _make_form(self, token: str, route: _Route) -> exchange.RequestTemplate:
        headers: dict[str, str | bytes] = {
            "Host": _host(self._prepared.url or ""),
            "User-Agent": self._target.agent,
            "Content-Type": CONTENT_TYPE,
        }
        if route.path.startswith("http://"):  # through a proxy without a tunnel
            headers |= route.pool.proxy_headers
        _put_all(headers, self._headers)
        if token:
            _put_all(headers, {"Authorization": b"Bearer " + token.encode("utf-8")})
        return exchange.RequestTemplate(self._target.method, route.path, headers)

    def _send_once(self, route: _Route, data: bytes) -> response_parser.EndpointResponse:
        return route.pool.urlopen(  # type: ignore[return-value]  # our connections return EndpointResponse
            self._target.method,
            route.path,
            body=data,
            headers={},  # all are in `data`
            retries=_NEVER_AGAIN,
            redirect=False,
            assert_same_host=False,
            timeout=_NO_TIMEOUT,
            release_conn=True,
        )

    def _current_route(self) -> _Route:
        """Return the current pool; a new one if a TLS file has changed, because open connections keep the old files.

        Raises:
            errors.TransientError: there is no pool, because a TLS file can't be used.
        """
        with self._lock:
            context = self._reload_tls_context()
            if context is not None:
                old, self._route = self._route, self._open_route(context)
                if old is not None:
                    old.adapter.close()
            if self._route is None:
                raise errors.TransientError(self._tls_error)
            return self._route

    def _reload_tls_context(self) -> ssl.SSLContext | None:
        try:
            context = self._tls_contexts.changed(time.monotonic())
        except errors.TransientError as error:
            self._tls_error = str(error)
            self._on_tls_error(self._tls_error)
            return None
        return context

    def _open_route(self, context: ssl.SSLContext) -> _Route:
        adapter = connection.Adapter(
            width=self._target.width,
            idle_timeout_s=self._target.idle_timeout_s,
            context=context,
            watchdog=self._watchdog,
            resolver=self._resolver,
            proxy=self._proxy,
            proxy_context=self._tls_contexts.proxy_context() if self._proxy and self._proxy.scheme == "https" else None,
        )
        verify = self._target.files.verify
        pool = adapter.get_connection_with_tls_context(self._prepared, verify, proxies=adapter.by_scheme)
        assert isinstance(pool, connectionpool.HTTPConnectionPool)  # noqa: S101  its stub declares a supertype
        return _Route(adapter=adapter, pool=pool, path=adapter.request_url(self._prepared, adapter.by_scheme))


def _host(url: str) -> str:
    """Return the Host header for a URL: without the default port of its scheme."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _put_all(headers: dict[str, str | bytes], more: Mapping[str, bytes]) -> None:
    """Add headers, replacing those of the same name in any case."""
    for name, value in more.items():
        for present in [other for other in headers if other.lower() == name.lower()]:
            del headers[present]
        headers[name] = value


def _silence_libraries(*, verify: bool) -> None:
    # urllib3 logs URLs, which may contain secrets, and warns for each request; Beacon logs that warning once.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    if not verify:
        warnings.simplefilter("ignore", exceptions.InsecureRequestWarning)


def _text_of(reply: response_parser.EndpointResponse) -> str:
    if 200 <= reply.status < 300:
        return ""
    data = reply.body
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        data = b""
    where = reply.headers.get("Location") if 300 <= reply.status < 400 else None
    text = f"redirect to {where} not followed" if where else data.decode("utf-8", "replace")
    return text.strip() or reply.reason


def _was_unsent(call: deadline.Call) -> bool:
    """Return True if a reused connection broke before the request was sent, so the endpoint can't have received it."""
    used = call.connection
    return isinstance(used, connection.CancellableConnection) and used.served and not used.sent


def _fault(error: Exception, call: deadline.Call) -> str:
    if call.expired:
        return answer.TIMEOUT
    causes = _causes(error)
    if any(isinstance(cause, TimeoutError | exceptions.TimeoutError) for cause in causes):
        return answer.TIMEOUT
    cut_off = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    if any(isinstance(cause, ssl.SSLError) and not isinstance(cause, cut_off) for cause in causes):
        return answer.TLS
    return answer.NETWORK


def _describe(error: Exception, call: deadline.Call) -> str:
    if call.expired:
        return "no complete answer in time"
    root = _causes(error)[-1]
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {root.verify_message}"
    if isinstance(root, OSError) and root.strerror:
        return root.strerror
    return str(root) or type(root).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, outermost first."""
    causes = [error]
    while True:
        last = causes[-1]
        inner = [argument for argument in last.args if isinstance(argument, BaseException)]
        following = inner[-1] if inner else last.__cause__
        if following is None or following in causes:
            return causes
        causes.append(following)
