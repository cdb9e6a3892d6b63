"""Connections that another thread can shut down, and their pools: what urllib3 lacks for a total deadline.

Used by `http_sender`; knows nothing about events. A request is sent in one write, because headers and body in two
packets cost the endpoint another wake-up. `exchange` owns the bytes of request and response.

A connection is reused only if its last response was complete, no bytes have arrived since, and it was not idle for
longer than a load balancer keeps it open.
"""

import contextlib
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

from requests import adapters
from urllib3 import connection, connectionpool, poolmanager
from urllib3.util import connection as addresses

from beacon.boundary import idle_socket, proxies
from beacon.notifier.transport import deadline, exchange, response_parser

_OPTIONS: list[tuple[int, int, int | bytes]] = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),  # seconds; a vanished peer is detected within 45
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class Resolver:
    """Resolves each name in its own thread, because a lookup can't be interrupted, only abandoned.

    All requests for a name share one lookup, so a name server that hangs blocks one thread, not one per request.
    """

    def __init__(self) -> None:
        """Create a resolver without lookups."""
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, int], _Lookup] = {}

    def resolve(self, host: str, port: int, *, until: float) -> list[str]:
        """Return the addresses of a host.

        Raises:
            OSError: the name does not exist, or (TimeoutError) no answer arrived before `until` (monotonic).
        """
        if _is_address(host):
            return [host]
        with self._lock:
            lookup = self._under_way.get((host, port))
            if lookup is None:
                lookup = self._under_way[host, port] = _Lookup()
                threading.Thread(target=self._look_up, args=(host, port, lookup), name="lookup", daemon=True).start()
        if not lookup.done.wait(max(0.0, until - time.monotonic())):
            raise TimeoutError(f"the name {host} was not resolved in time")
        if lookup.error is not None:
            raise OSError(f"the name {host} can't be resolved: {lookup.error}")
        return lookup.found

    def _look_up(self, host: str, port: int, lookup: "_Lookup") -> None:
        try:
            infos = socket.getaddrinfo(host, port, addresses.allowed_gai_family(), socket.SOCK_STREAM)
            lookup.found = [str(info[4][0]) for info in infos]
        except (OSError, UnicodeError) as error:
            lookup.error = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        with self._lock:
            del self._under_way[host, port]
        lookup.done.set()


class _Lookup:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: list[str] = []
        self.error: str | None = None


class CancellableConnection:
    """Mixin for urllib3's plain and TLS connections that lets another thread shut them down.

    `guard` is a second descriptor of the same socket: it can shut the connection down even while the first one is being
    wrapped for TLS. `served` is True if the connection carried an earlier request, `sent` if the current request was
    sent completely.
    """

    watchdog: deadline.Watchdog
    resolver: Resolver
    socks: proxies.Proxy | None
    idle_timeout_s: float
    sock: Any

    def __init__(self, *args: object, **options: object) -> None:
        """Create a connection as urllib3 does."""
        self.call: deadline.Call | None = None
        self.guard: socket.socket | None = None
        self.served = False
        self.sent = False
        self._carried = False
        self._exchange: exchange.HttpExchange | None = None
        self._idle_since = 0.0
        super().__init__(*args, **options)

    def shut(self) -> None:
        """Shut the socket down, which ends all waits on it."""
        guard = self.guard
        if guard is not None:
            with contextlib.suppress(OSError):
                guard.shutdown(socket.SHUT_RDWR)

    @property
    def is_connected(self) -> bool:
        """Return True if the connection may carry another request."""
        guard = self.guard
        if self.sock is None or guard is None or time.monotonic() - self._idle_since > self.idle_timeout_s:
            return False
        return idle_socket.is_silent(self.sock, guard)

    def request(self, _method: str, _url: str, body: bytes, **_: object) -> None:
        """Send a whole request, `body`, in one write."""
        self.watchdog.attach(self)
        self.sent, self._exchange = False, None
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        self.served, self._carried = self._carried, True
        self._exchange = exchange.HttpExchange(self.sock)
        try:
            self._exchange.send(body)
        except response_parser.InvalidResponse:
            raise
        except OSError:
            return  # the endpoint may have answered before it closed the connection
        self.sent = self._exchange.sent

    def getresponse(self) -> response_parser.EndpointResponse:
        """Return the complete response."""
        current, self._exchange = self._exchange, None
        if current is None:  # urllib3 ignores a reset, also one while connecting
            raise ConnectionResetError("the connection was reset before the request was sent")
        response = current.receive()
        self._idle_since = time.monotonic()
        if not response.reusable:
            self.close()
        return response

    def close(self) -> None:
        """Close the connection, but not its guard while a call uses it."""
        self._carried = False
        super().close()  # type: ignore[misc]
        if self.call is None:
            self.release()

    def release(self) -> None:
        """Close the guard of a closed connection."""
        if self.sock is None:
            guard, self.guard = self.guard, None
            if guard is not None:
                guard.close()

    def set_tunnel(self, host: str, *args: object, **options: object) -> None:
        """Set the target of a proxy tunnel.

        Raises:
            OSError: the host name is invalid. http.client and TLS detect this too, but TLS too late.
        """
        try:
            host.encode("idna")
        except UnicodeError as error:
            raise OSError(f"the name {host} can't be used: {error}") from None
        super().set_tunnel(host, *args, **options)  # type: ignore[misc]

    def _tunnel(self) -> None:
        """Open a tunnel through the proxy; urllib3 would parse the answer with http.client."""
        try:
            exchange.open_tunnel(self.sock, self._tunnel_host, self._tunnel_port, self._tunnel_headers)  # type: ignore[attr-defined]
        except OSError:
            self.close()
            raise

    def _new_conn(self) -> socket.socket:
        """Connect within the deadline of the current request."""
        call = self.watchdog.current()
        until = call.deadline if call is not None else time.monotonic() + 10.0
        host, port = self._dns_host.strip("[]"), self.port  # type: ignore[attr-defined]
        if self.socks is not None:
            return self._connect_by_socks(self.socks, (host, port), until)
        connected = _connect(self.resolver.resolve(host, port, until=until), port, until)
        self._guard(connected)
        return connected

    def _connect_by_socks(self, proxy: proxies.Proxy, target: tuple[str, int], until: float) -> socket.socket:
        from beacon.boundary import socks5  # noqa: PLC0415  rarely used

        def resolve(host: str, port: int) -> list[str]:
            return self.resolver.resolve(host, port, until=until)

        return socks5.connect(proxy, target, resolve=resolve, until=until, on_socket=self._guard, options=_OPTIONS)

    def _guard(self, made: socket.socket) -> None:
        """Allow the watchdog to shut the socket down."""
        guard, self.guard = self.guard, socket.socket(fileno=os.dup(made.fileno()))
        if guard is not None:
            guard.close()
        self.watchdog.attach(self)


class _PlainConnection(CancellableConnection, connection.HTTPConnection):  # type: ignore[misc]  # returns EndpointResponse
    pass


class _TlsConnection(CancellableConnection, connection.HTTPSConnection):  # type: ignore[misc]
    pass


class Adapter(adapters.HTTPAdapter):
    """One endpoint's pool of connections, all under one TLS context."""

    def __init__(
        self,
        *,
        width: int,
        idle_timeout_s: float,
        context: ssl.SSLContext,
        watchdog: deadline.Watchdog,
        resolver: Resolver,
        proxy: proxies.Proxy | None = None,
        proxy_context: ssl.SSLContext | None = None,
    ) -> None:
        """Keep up to `width` connections open, all through `proxy`; `proxy_context` is for an https proxy.

        A connection is not reused after `idle_timeout_s` without a request.
        """
        self._context = context
        self._proxy = proxy
        self._proxy_context = proxy_context
        bound = {
            "watchdog": watchdog,
            "resolver": resolver,
            "socks": proxy if proxy and proxy.is_socks else None,
            "idle_timeout_s": idle_timeout_s,
        }
        plain = type("PlainConnection", (_PlainConnection,), bound)
        tls = type("TlsConnection", (_TlsConnection,), bound)
        self._pools = {
            "http": type("PlainPool", (connectionpool.HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (connectionpool.HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }
        super().__init__(pool_connections=1, pool_maxsize=width, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: object) -> None:  # noqa: FBT001, FBT002
        """Create the pools of direct connections."""
        super().init_poolmanager(connections, maxsize, block, **self._options(), **options)
        self._equip(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: object) -> poolmanager.ProxyManager:
        """Create the pools of connections through a proxy."""
        options = {**options, **self._options(), "proxy_ssl_context": self._proxy_context}
        manager: poolmanager.ProxyManager = super().proxy_manager_for(proxy, **options)
        self._equip(manager)
        return manager

    def proxy_headers(self, _proxy: str) -> dict[str, str]:
        """Return the headers for the proxy only."""
        authorization = self._proxy.authorization if self._proxy else ""
        return {"Proxy-Authorization": authorization} if authorization else {}

    @property
    def by_scheme(self) -> dict[str, str]:
        """Return the HTTP proxy as requests expects it; a SOCKS proxy is handled by each connection."""
        return {"all": self._proxy.url} if self._proxy and not self._proxy.is_socks else {}

    def _options(self) -> Mapping[str, object]:
        return {"ssl_context": self._context, "socket_options": _OPTIONS}

    def _equip(self, manager: poolmanager.PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _connect(found: list[str], port: int, until: float) -> socket.socket:
    """Try the addresses in order within one deadline."""
    refused: OSError = TimeoutError("no time was left to connect")
    for index, address in enumerate(found):
        left_s = until - time.monotonic()
        if left_s <= 0:
            break
        # An unresponsive address must leave time for the next ones.
        share_s = left_s / (len(found) - index)
        try:
            connected = addresses.create_connection((address, port), share_s, socket_options=_OPTIONS)
        except OSError as error:
            refused = error
        else:
            connected.settimeout(None)
            return connected
    raise refused
