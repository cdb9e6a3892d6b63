"""Sends HTTP requests to one endpoint, any number at a time, in the thread of a loop.

It knows nothing about deliveries and retries. Each request gets one answer, also if the endpoint, the network or this
module fails: an unexpected error while one connection is served is an answer, too, and logged, and the loop goes on.
Redirects are not followed: a 302 would turn a POST into a GET. Only the status, Retry-After and a short masked text of
a response leave this module.
"""

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from urllib3 import exceptions

from beacon import errors
from beacon.notifier.transport import (
    answer,
    connections,
    connector,
    endpoint_proxy,
    event_loop,
    failures,
    masking,
    response_parser,
    route,
)
from beacon.notifier.transport.auth import endpoint_auth, oauth2

_UNSENDABLE = "the token or a configured header holds characters that can't be sent"
_UNAUTHORIZED = 401
_EXPIRED = "no complete answer in time"
_CANCELLED = "cancelled"

Done = Callable[[answer.EndpointAnswer], None]


@dataclass(slots=True, eq=False, kw_only=True)
class _Request:
    """One request under way; `began` and `deadline` are monotonic."""

    request_id: str
    done: Done
    began: float
    started_us: int
    deadline: float = 0.0
    token: str = ""
    data: bytes = b""
    event_id: str = ""
    body: bytes = b""  # only if a 401 repeats the request
    renewed: bool = False
    repeated: bool = False
    opening: connector.ConnectionAttempt | None = None
    connection: connections.EndpointConnection | None = None


class HttpSender:
    """The requests to one endpoint and its connections. All methods belong to the loop's thread."""

    def __init__(
        self,
        target: route.Target,
        *,
        token: Callable[[], str],
        loop: event_loop.EventLoop,
        start: connector.Start,
        listener: route.RouteListener | None = None,
        on_fault: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Create a sender; it opens no connection yet. `token` returns the current bearer token, "" for none.

        `start` starts a thread; `on_fault` is called with each unexpected error.

        Raises:
            errors.ConfigError: the proxy can't be used.
        """
        self._target = target
        self._token = token
        self._on_fault = on_fault
        self._on_broken: Callable[[Exception], None] = _raise
        self._loop = event_loop.LoopShare(loop, on_error=self._broke)
        self._routes = route.EndpointRoutes(target, listener or route.RouteListener())
        self._tokens = self._token_source(loop, start, listener)
        self._connector = connector.Connector(self._loop, start=start)
        self._random = random.Random()  # noqa: S311  for request ids, without a system call for each
        self._under_way: set[_Request] = set()
        self._connections = self._no_connections()
        self._deadline_timer: event_loop.Timer | None = None
        self._cancelled = False
        self._known_token: str | None = None
        self._known_way: route.EndpointRoute | None = None
        self._known_auth = 0
        self.secrets_version = 0

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secrets of all requests, except the token, in every form that must be masked."""
        return self._routes.secrets

    @property
    def missing(self) -> str:
        """Return the reason why nothing may be sent yet: a file of the credentials could never be read; "" if none."""
        auth = self._routes.auth
        own = auth.missing if auth is not None else ""
        return own or (self._tokens.missing if self._tokens is not None else "")

    def send(self, body: bytes, *, event_id: str, timeout_s: float, done: Done) -> None:
        """Send one request; `done` is called later with its answer, after at most `timeout_s`."""
        request = _Request(
            request_id=self._request_id(),
            done=done,
            began=time.monotonic(),
            started_us=time.time_ns() // 1000,
        )
        request.deadline = request.began + timeout_s
        self._under_way.add(request)
        self._watch_deadline(request.deadline)
        if self._cancelled:
            self._refuse(request, answer.NETWORK, _CANCELLED)
        elif self._tokens is None:
            self._prepare(request, event_id, body)
        else:
            request.event_id, request.body = event_id, body
            self._obtain(request, self._tokens)

    def _obtain(self, request: _Request, tokens: oauth2.TokenSource) -> None:
        """Send a request once there is a token for it."""

        def obtained(got: str | oauth2.NoToken) -> None:
            if request not in self._under_way:
                return
            if isinstance(got, str):
                request.token = got
                self._prepare(request, request.event_id, request.body)
            else:
                self._loop.soon(lambda: self._answer(request, got.code, got.status, got.text))

        tokens.obtain(obtained)

    def _prepare(self, request: _Request, event_id: str, body: bytes) -> None:
        """Fill in the bytes of a request, and send it."""
        try:
            token, way = self._current()
            request.token = token or request.token
            signature = self._routes.signature(event_id, request.started_us // 1_000_000, body)
            template = self._routes.template(way, request.token)
            request.data = template.fill(request.request_id, event_id, body, more=signature)
        except (endpoint_proxy.NoPasswordError, endpoint_auth.NoCredentialsError) as error:
            self._refuse(request, answer.NETWORK, str(error))
        except errors.TransientError as error:
            self._refuse(request, answer.TLS, str(error))
        except route.UnsendableHeader:
            self._refuse(request, answer.NETWORK, _UNSENDABLE)
        except Exception as error:  # noqa: BLE001  this request's, which must not hold up the others
            self._refuse_with(request, error)
        else:
            self._connections.follow(way)
            self._dispatch(request, way)

    def check_secrets(self) -> None:
        """Read all files of secrets again if they have changed, also while nothing is sent."""
        target = self._target
        if self._tokens is not None:
            self._tokens.check_secrets()
        if self._known_way is None and not (
            target.files.named or target.proxy.password_file or target.auth.is_configured
        ):
            self._note(self._token(), None)
            return
        with contextlib.suppress(errors.TransientError):
            self._current()

    def _current(self) -> tuple[str, route.EndpointRoute]:
        """Return the token and the route of the next request, and note whether one of them has changed."""
        token, way = self._token(), self._routes.current()
        self._note(token, way)
        return token, way

    def _note(self, token: str, way: route.EndpointRoute | None) -> None:
        is_new_token = self._known_token is not None and token != self._known_token
        is_new_way = self._known_way is not None and way is not self._known_way
        auth = self._routes.auth
        version = auth.version if auth is not None else 0
        version += self._tokens.secrets_version if self._tokens is not None else 0
        is_new_auth = version != self._known_auth
        self._known_token, self._known_way, self._known_auth = token, way, version
        self.secrets_version += is_new_token or is_new_way or is_new_auth

    def expire(self, before: float) -> None:
        """Expire, in the next round of the loop, every request that was sent before a monotonic instant."""
        for request in self._under_way:
            if request.began < before:
                request.deadline = before
        self._loop.soon(self._check_deadlines)

    def cancel_all(self) -> None:
        """Cancel all current and future requests, in the next round of the loop."""
        self._cancelled = True
        self._loop.soon(self._cancel_all)

    def is_stuck(self, now: float) -> bool:
        """Return True if a thread that opens a connection is stuck long after its deadline."""
        return self._connector.is_stuck(now)

    def on_broken(self, act: Callable[[Exception], None]) -> None:
        """Call `act` with the error when a callback of the loop fails, so that the state of this object is in doubt.

        Without it the error leaves the loop.
        """
        self._on_broken = act
        if self._tokens is not None:
            self._tokens.on_broken(act)

    def reset(self) -> None:
        """Close all connections; requests under way get no answer, later ones are sent as usual."""
        under_way, self._under_way = self._under_way, set()
        for request in under_way:
            request.connection = None
            opening, request.opening = request.opening, None
            if opening is not None:
                opening.abandon()
        before, self._connections = self._connections, self._no_connections()
        before.close()
        if self._tokens is not None:
            self._tokens.reset()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()

    def close(self) -> None:
        """Close all connections, for good; requests under way get no answer."""
        self.reset()
        self._connector.close()
        if self._tokens is not None:
            self._tokens.close()

    # --- the ways of a request

    def _dispatch(self, request: _Request, way: route.EndpointRoute) -> None:
        """Send a request on an idle connection, else open one for it."""
        connection = self._connections.take_idle()
        if connection is not None:
            self._begin(connection, request)
            return

        def opened(opening: connector.ConnectionAttempt, made: connector.Outcome) -> None:
            self._opened(request, opening, made, way)

        try:
            request.opening = self._connector.open(way.open, deadline=request.deadline, done=opened)
        except OSError as error:
            self._refuse(request, answer.NETWORK, str(error))
        except RuntimeError as error:
            self._refuse_with(request, error)

    def _opened(
        self, request: _Request, opening: connector.ConnectionAttempt, made: connector.Outcome, way: route.EndpointRoute
    ) -> None:
        is_awaited = request.opening is opening
        if is_awaited:
            request.opening = None
        if isinstance(made, Exception):
            if is_awaited:
                self._fail(request, made)
            return
        if not is_awaited:
            made.close()
            return
        try:
            connection = self._connections.add(made, way)
        except OSError as error:
            self._fail(request, error)
        else:
            self._begin(connection, request)

    def _begin(self, connection: connections.EndpointConnection, request: _Request) -> None:
        request.connection = connection
        self._connections.begin(connection, request.data, lambda result: self._ended(request, connection.route, result))

    def _ended(self, request: _Request, way: route.EndpointRoute, result: connections.Result) -> None:
        """Answer a request; repeat it once if the endpoint can't have received it."""
        request.connection = None
        if isinstance(result, connections.UnsentError):
            if not request.repeated:
                request.repeated = True
                self._dispatch(request, way)
                return
            result = result.args[0]
        if isinstance(result, Exception):
            self._fail(request, result)
            return
        if self._tokens is not None and self._is_renewed(request, self._tokens, result.status):
            return
        retry_after = result.headers.get("Retry-After")
        body = result.body if self._target.asks_for_token else b""
        date = result.headers.get("Date", "")
        self._answer(
            request, str(result.status), result.status, _text_of(result), retry_after=retry_after, body=body, date=date
        )

    def _is_renewed(self, request: _Request, tokens: oauth2.TokenSource, status: int) -> bool:
        """Repeat a request once with a new token if the endpoint refused the old one; return True then."""
        if status != _UNAUTHORIZED:
            tokens.accepted(request.token)
            return False
        if request.renewed or not tokens.reject(request.token):
            return False
        request.renewed = True
        self._obtain(request, tokens)
        return True

    def _fail(self, request: _Request, error: Exception) -> None:
        if isinstance(error, exceptions.HTTPError | OSError):
            status = failures.status_of(error)
            code = str(status) if status else failures.code_of(error)
            self._answer(request, code, status, failures.describe(error))
            return
        self._on_fault(error)
        self._answer(request, answer.INTERNAL, 0, answer.describe_internal(error))

    def _refuse(self, request: _Request, code: str, text: str) -> None:
        """Answer a request that is not sent, later, because its caller does not expect the answer yet."""
        self._loop.soon(lambda: self._answer(request, code, 0, text))

    def _refuse_with(self, request: _Request, error: Exception) -> None:
        """Answer a request that can't be sent because of an unexpected error."""
        self._on_fault(error)
        self._refuse(request, answer.INTERNAL, answer.describe_internal(error))

    def _answer(
        self,
        request: _Request,
        code: str,
        status: int,
        text: str,
        *,
        retry_after: str | None = None,
        body: bytes = b"",
        date: str = "",
    ) -> None:
        if request not in self._under_way:
            return
        self._under_way.remove(request)
        if text:
            secrets = (*masking.forms((request.token,)), *self.secrets) if request.token else self.secrets
            text = answer.clean(text, secrets=secrets)
        request.done(
            answer.EndpointAnswer(
                code=code,
                status=status,
                error=text,
                retry_after=retry_after,
                started_us=request.started_us,
                duration_s=time.monotonic() - request.began,
                request_id=request.request_id,
                date=date,
                body=body,
            )
        )

    def _token_source(
        self, loop: event_loop.EventLoop, start: connector.Start, listener: route.RouteListener | None
    ) -> oauth2.TokenSource | None:
        """Return the source of the tokens if the endpoint has one; it shares the loop."""
        config = self._target.token
        if config is None:
            return None
        sender = HttpSender(
            config.target, token=lambda: "", loop=loop, start=start, listener=listener, on_fault=self._on_fault
        )
        return oauth2.TokenSource(config, sender, listener or route.RouteListener())

    @property
    def password(self) -> str:
        """Return the current password of the credentials, for a body."""
        auth = self._routes.auth
        return auth.password if auth is not None else ""

    def _broke(self, error: Exception) -> None:
        self._on_broken(error)

    # --- timers

    def _watch_deadline(self, deadline: float) -> None:
        timer = self._deadline_timer
        if timer is not None and timer.act is not None and timer.at <= deadline:
            return
        if timer is not None:
            timer.cancel()
        self._deadline_timer = self._loop.call_at(deadline, self._check_deadlines)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for request in [one for one in self._under_way if one.deadline <= now]:
            self._end(request, answer.TIMEOUT, _EXPIRED)
        if self._under_way:
            self._watch_deadline(min(request.deadline for request in self._under_way))

    def _cancel_all(self) -> None:
        for request in tuple(self._under_way):
            self._end(request, answer.NETWORK, _CANCELLED)

    def _end(self, request: _Request, code: str, text: str) -> None:
        """Answer a request before the endpoint does, and close its connection."""
        opening, request.opening = request.opening, None
        if opening is not None:
            opening.abandon()
        if request.connection is not None:
            self._connections.drop(request.connection)
            request.connection = None
        self._answer(request, code, 0, text)

    def _no_connections(self) -> connections.Connections:
        target = self._target
        return connections.Connections(self._loop, width=target.width, idle_timeout_s=target.idle_timeout_s)

    def _request_id(self) -> str:
        """Return a random UUID (version 4); the uuid module takes three times as long."""
        bits = self._random.getrandbits(128)
        bits = bits & ~(0xF000 << 64) & ~(0xC000 << 48) | 4 << 76 | 0x8000 << 48
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _raise(error: Exception) -> None:
    raise error


def _text_of(reply: response_parser.EndpointResponse) -> str:
    if 200 <= reply.status < 300:
        return ""
    data = reply.body
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        data = b""
    where = reply.headers.get("Location") if 300 <= reply.status < 400 else None
    text = f"redirect to {where} not followed" if where else data.decode("utf-8", "replace")
    return text.strip() or reply.reason
