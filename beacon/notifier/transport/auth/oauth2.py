"""Tokens of OAuth2 client credentials (RFC 6749, 4.4), fetched when needed and kept in memory.

The request is sent in the endpoint's loop and never blocks it; oauthlib, imported at the first request, writes it and
reads the answer. While a token is renewed the old one goes on until its end, so that no event waits. All input of the
token endpoint is untrusted: its size and time are bounded by the sender, its text is masked there.
"""

import importlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from beacon import codec
from beacon.notifier.transport import answer, masking, response_parser, route

_RENEWED_AFTER = 0.8  # of the life
_PAUSE_S = 1.0  # after a failure, before the token endpoint is asked again
_LEAST_AGE_S = 10.0  # of a token that was never accepted, before a 401 discards it
_LONGEST_TOKEN = 16 * 1024
_REMEMBERED = 4  # tokens that stay masked in the log
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class NoToken:
    """Why there is no token. Status 401: the token endpoint does not know the client or its secret."""

    code: str
    status: int
    text: str


class TokenSender(Protocol):
    """Sends requests to the token endpoint: `http_sender.HttpSender`."""

    secrets_version: int

    @property
    def missing(self) -> str:
        """Return the reason why nothing may be sent yet; "" if none."""

    @property
    def password(self) -> str:
        """Return the current secret of the client."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secrets of a request in every form that must be masked."""

    def send(
        self, body: bytes, *, event_id: str, timeout_s: float, done: Callable[[answer.EndpointAnswer], None]
    ) -> None:
        """Send one request; `done` is called later with the complete answer."""

    def check_secrets(self) -> None:
        """Read the files of secrets again if they have changed."""

    def on_broken(self, act: Callable[[Exception], None]) -> None:
        """Call `act` with each error in a callback of the loop."""

    def reset(self) -> None:
        """Close all connections; requests under way get no answer."""

    def close(self) -> None:
        """Close all connections, for good."""


Done = Callable[[str | NoToken], None]


class TokenSource:
    """The current token of one endpoint. For the thread of the loop."""

    def __init__(
        self,
        config: route.TokenTarget,
        sender: TokenSender,
        listener: route.RouteListener,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Request tokens with `sender`; `listener` gets every form of a token before it is used."""
        self._config = config
        self._sender = sender
        self._listener = listener
        self._forms: deque[tuple[str, ...]] = deque()
        self._clock = clock
        self._token = ""
        self._fetched_at = self._renew_at = self._expires_at = 0.0
        self._is_proven = False
        self._is_fetching = False
        self._waiting: list[Done] = []
        self._failure: NoToken | None = None
        self._failed_at = 0.0
        self._known_secrets = 0

    @property
    def missing(self) -> str:
        """Return why no token can be requested yet: the file of the client's secret could never be read."""
        return self._sender.missing

    @property
    def secrets_version(self) -> int:
        """Return a number that grows when the client's secret or the proxy's password has changed."""
        return self._sender.secrets_version

    def obtain(self, done: Done) -> None:
        """Call `done` with the token, at once if there is one, or with the reason why there is none."""
        now = self._clock()
        if self._token and now < self._expires_at:
            if now >= self._renew_at and not self._has_just_failed(now):
                self._fetch()
            done(self._token)
        elif self._failure is not None and self._has_just_failed(now):
            done(self._failure)
        else:
            self._waiting.append(done)
            self._fetch()

    def accepted(self, token: str) -> None:
        """Note that the endpoint did not refuse a token."""
        self._is_proven = self._is_proven or token == self._token

    def reject(self, token: str) -> bool:
        """Discard a token that the endpoint refused. Return True if another one may be accepted.

        A new token that is refused at once is kept for a while: the token endpoint must not be asked for each event.
        """
        if token != self._token:
            return True
        if not self._is_proven and self._clock() - self._fetched_at < _LEAST_AGE_S:
            return False
        self._token = ""
        return True

    def check_secrets(self) -> None:
        """Read the file of the client's secret again if it has changed."""
        self._sender.check_secrets()
        if self._sender.secrets_version != self._known_secrets:
            self._known_secrets = self._sender.secrets_version
            self._failure = None

    def on_broken(self, act: Callable[[Exception], None]) -> None:
        """Call `act` with each error in a callback of the sender."""
        self._sender.on_broken(act)

    def reset(self) -> None:
        """Forget what waits for a token."""
        self._waiting.clear()
        self._is_fetching = False
        self._sender.reset()

    def close(self) -> None:
        """Close the connections to the token endpoint."""
        self._sender.close()

    def _has_just_failed(self, now: float) -> bool:
        return self._failure is not None and now - self._failed_at < _PAUSE_S

    def _fetch(self) -> None:
        if self._is_fetching:
            return
        self._is_fetching = True
        self.check_secrets()
        library: Any = importlib.import_module("oauthlib.oauth2")
        config = self._config
        client = library.BackendApplicationClient(config.client)
        more = dict(config.params)
        if config.target.auth.password_use == "body":  # noqa: S105
            more |= {"client_secret": self._sender.password}
        body = client.prepare_request_body(
            scope=list(config.scopes) or None, include_client_id="client_secret" in more, **more
        )
        self._sender.send(
            body.encode(), event_id="token", timeout_s=config.timeout_s, done=lambda reply: self._fetched(client, reply)
        )

    def _fetched(self, client: Any, reply: answer.EndpointAnswer) -> None:
        self._is_fetching = False
        now = self._clock()
        try:
            token, life_s = _read(client, reply)
        except _UnusableAnswer as error:
            text = answer.clean(f"token endpoint: {error}", secrets=self._sender.secrets)
            code, status = (str(_UNAUTHORIZED), _UNAUTHORIZED) if error.is_refusal else (answer.TOKEN, 0)
            self._failure, self._failed_at = NoToken(code=code, status=status, text=text), now
            self._answer_all(self._failure)
            return
        self._register(masking.forms((token,)))
        self._token, self._fetched_at, self._is_proven, self._failure = token, now, False, None
        self._expires_at, self._renew_at = now + life_s, now + life_s * _RENEWED_AFTER
        self._listener.token_fetched(life_s)
        self._answer_all(token)

    def _register(self, forms: tuple[str, ...]) -> None:
        self._listener.secrets(forms)
        if forms in self._forms:
            return
        self._forms.append(forms)
        if len(self._forms) > _REMEMBERED:
            self._listener.forgotten(self._forms.popleft())

    def _answer_all(self, got: str | NoToken) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(got)


class _UnusableAnswer(Exception):
    """The token endpoint returned no token; `is_refusal`: it does not know the client."""

    def __init__(self, text: str, *, is_refusal: bool = False) -> None:
        super().__init__(text)
        self.is_refusal = is_refusal


def _read(client: Any, reply: answer.EndpointAnswer) -> tuple[str, float]:
    """Return the token and its life in seconds.

    Raises:
        _UnusableAnswer: there is none.
    """
    if reply.status == 0:
        raise _UnusableAnswer(f"{reply.code}: {reply.error}")
    content = _content(reply.body)
    if not 200 <= reply.status < 300:
        error = content.get("error")
        is_refusal = reply.status == _UNAUTHORIZED or error == "invalid_client"
        raise _UnusableAnswer(f"{reply.status}: {reply.error}", is_refusal=is_refusal)
    if len(reply.body) >= response_parser.LONGEST_BODY:
        raise _UnusableAnswer("the answer is larger than 64 KiB")
    if not content:
        raise _UnusableAnswer("the answer is not a JSON object")
    try:
        params = client.parse_request_body_response(reply.body.decode("utf-8"))
    except Exception as error:  # noqa: BLE001  of the library, for any odd answer; its text may hold the token
        word = content.get("error")
        is_refusal = word == "invalid_client"
        text = word if isinstance(word, str) else f"the answer holds no usable token ({type(error).__name__})"
        raise _UnusableAnswer(text, is_refusal=is_refusal) from None
    token, kind, life_s = params["access_token"], params.get("token_type", "bearer"), content.get("expires_in")
    if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN or not _is_sendable(token):
        raise _UnusableAnswer("the token is empty, too long, or holds characters that can't be sent")
    if str(kind).lower() != "bearer":
        raise _UnusableAnswer("the token is not of the type Bearer")
    return token, _seconds(life_s)


def _content(body: bytes) -> dict[str, object]:
    try:
        content = codec.decode(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_sendable(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _seconds(life: object) -> float:
    """Return the life of a token; without a usable one it is used until the endpoint refuses it."""
    try:
        seconds = float(life) if isinstance(life, int | float | str) and not isinstance(life, bool) else 0.0
    except ValueError:
        seconds = 0.0
    return seconds if seconds > 0 else float("inf")
