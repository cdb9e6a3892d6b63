"""How to reach one endpoint: from address, proxy, TLS files and headers come new connections and request bytes.

A changed TLS file or proxy password makes a new route, because open connections keep the old one. Of the environment
only the proxy variables are read: a CA bundle from the environment would override the configured one.
"""

import logging
import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import requests
from urllib3 import exceptions

from beacon import errors
from beacon.boundary import idle_socket
from beacon.notifier.transport import connection, connector, endpoint_proxy, masking, request_template, tls_context
from beacon.notifier.transport.auth import endpoint_auth, signing


class UnsendableHeader(ValueError):
    """The token or a configured header contains characters that can't be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The address of the endpoint, and how to send requests to it.

    `width` is the number of concurrent requests; `agent` is the User-Agent; a connection that was idle for
    `idle_timeout_s` is not reused. With `token`, requests carry a token from there. `asks_for_token`: this is such a
    token endpoint, so bodies are forms, and answers keep their bodies.
    """

    url: str = field(repr=False)  # its query may contain a secret
    method: str
    agent: str
    width: int
    idle_timeout_s: float = 50.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tls_context.TlsFiles = field(default_factory=tls_context.TlsFiles)
    proxy: endpoint_proxy.ProxyConfig = field(default_factory=endpoint_proxy.ProxyConfig)
    auth: endpoint_auth.AuthConfig = field(default_factory=endpoint_auth.AuthConfig)
    token: "TokenTarget | None" = None
    asks_for_token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTarget:
    """How to request tokens: the token endpoint, and the parameters of the request."""

    target: Target
    client: str
    scopes: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0


def _ignore(_: object) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteListener:
    """Functions that are called with the reason when files can't be used, and with secrets.

    `tls_error`: the TLS files; `proxy_error`: the proxy's password file; `auth_error`: a file of the credentials.
    `secrets` is called with every form of a secret that is read, before it is used, `forgotten` with those of a token
    that was replaced long ago, `token_fetched` with the seconds for which a new token is valid.
    """

    tls_error: Callable[[str], None] = _ignore
    proxy_error: Callable[[str], None] = _ignore
    auth_error: Callable[[str], None] = _ignore
    secrets: Callable[[tuple[str, ...]], None] = _ignore
    forgotten: Callable[[tuple[str, ...]], None] = _ignore
    token_fetched: Callable[[float], None] = _ignore


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndpointRoute:
    """The way to the endpoint under one TLS context; `path` is the target of its requests."""

    path: str
    scheme: str
    proxy_headers: Mapping[str, str]  # for requests that the proxy forwards
    _pool: connection.OpeningPool

    def open(self, opening: connector.ConnectionAttempt) -> idle_socket.Stream:
        """Open a connection; blocks.

        Raises:
            OSError, exceptions.HTTPError: it can't be opened.
        """
        return self._pool.open(opening, scheme=self.scheme)


_Form = tuple[EndpointRoute, str, Mapping[str, bytes], request_template.RequestTemplate]  # and what it contains
_NO_CREDENTIALS: Mapping[str, bytes] = {}


class EndpointRoutes:
    """The current route of one endpoint, and the bytes of its requests."""

    def __init__(self, target: Target, listener: RouteListener) -> None:
        """Prepare the route.

        Raises:
            errors.ConfigError: the proxy can't be used.
        """
        self._target = target
        self._on_tls_error = listener.tls_error
        self._resolver = connection.Resolver()
        self._tls_contexts = tls_context.TlsContexts(target.files)
        self._context: ssl.SSLContext | None = None
        self._prepared = requests.Request(target.method, target.url).prepare()
        url = self._prepared.url or ""  # as sent
        self._proxy = endpoint_proxy.EndpointProxy(
            target.proxy, url, on_secrets=listener.secrets, on_error=listener.proxy_error
        )
        self._headers = request_template.Headers(url, target.agent, target.headers, is_form=target.asks_for_token)
        self._secrets = masking.of_request(target.url, target.headers, ()) + masking.of_request(url, {}, ())
        self.auth: endpoint_auth.EndpointAuth | None = None
        if target.auth.is_configured:
            self.auth = endpoint_auth.EndpointAuth(
                target.auth, on_secrets=listener.secrets, on_error=listener.auth_error
            )
        self._route: EndpointRoute | None = None
        self._form: _Form | None = None
        self._tls_error = ""
        _silence_libraries(verify=target.files.verify)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secrets of all requests, except the token, in every form that must be masked."""
        return self._secrets + self._proxy.secrets + (self.auth.secrets if self.auth else ())

    def current(self) -> EndpointRoute:
        """Return the route; a new one if a TLS file or the proxy's password has changed.

        Raises:
            endpoint_auth.NoCredentialsError: there is none, because a file of the credentials can't be read.
            endpoint_proxy.NoPasswordError: there is none, because the proxy's password file can't be read.
            errors.TransientError: there is none, because a TLS file can't be used.
        """
        now = time.monotonic()
        if self.auth is not None:
            self.auth.check(now)
        if self._proxy.changed(now):
            self._route = None
        try:
            context = self._tls_contexts.changed(now)
        except errors.TransientError as error:
            self._tls_error = str(error)
            self._on_tls_error(self._tls_error)
            context = None
        if context is not None:
            self._context, self._route = context, None
        if self._context is None:
            raise errors.TransientError(self._tls_error)
        if self._route is None:
            self._route = self._make(self._context)
        return self._route

    def template(self, route: EndpointRoute, token: str) -> request_template.RequestTemplate:
        """Return the template of all requests with this token and the current credentials.

        Raises:
            UnsendableHeader: the token or a configured header contains characters that can't be sent.
        """
        known, credentials = self._form, self.auth.headers if self.auth else _NO_CREDENTIALS
        if known is None or known[0] is not route or known[1] != token or known[2] is not credentials:
            headers = self._headers.with_token(token, credentials, proxy=route.proxy_headers)
            try:
                made = request_template.RequestTemplate(self._target.method, route.path, headers)
            except ValueError as error:
                raise UnsendableHeader(str(error)) from error
            known = self._form = route, token, credentials, made
        return known[3]

    def signature(self, event_id: str, now_s: int, body: bytes) -> bytes:
        """Return the header lines that sign a request, if the endpoint has secrets for that."""
        if self.auth is None or not self.auth.keys:
            return b""
        return signing.header_lines(self.auth.keys, event_id, now_s, body)

    def _make(self, context: ssl.SSLContext) -> EndpointRoute:
        proxy = self._proxy.proxy
        adapter = connection.Adapter(
            context=context,
            resolver=self._resolver,
            proxy=proxy,
            proxy_context=self._tls_contexts.proxy_context() if proxy and proxy.scheme == "https" else None,
        )
        pool = adapter.get_connection_with_tls_context(
            self._prepared, self._target.files.verify, proxies=adapter.by_scheme
        )
        path = adapter.request_url(self._prepared, adapter.by_scheme)
        forwarded = path.startswith("http://")  # by a proxy, without a tunnel
        return EndpointRoute(
            path=path,
            scheme=(self._prepared.url or "").partition(":")[0],
            proxy_headers=adapter.forwarding_headers if forwarded else {},
            _pool=cast(connection.OpeningPool, pool),
        )


def _silence_libraries(*, verify: bool) -> None:
    # urllib3 logs URLs, which may contain secrets, and warns for each request; Beacon logs that warning once.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    if not verify:
        warnings.simplefilter("ignore", exceptions.InsecureRequestWarning)
