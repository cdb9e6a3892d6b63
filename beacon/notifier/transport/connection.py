"""Opens connections with urllib3 and requests: name lookup, proxy, TLS, certificates, each within a deadline.

Runs in the threads of `connector`, because opening blocks; once open, a connection belongs to `http_sender` and the
loop. This module knows nothing about requests and events.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from requests import adapters
from urllib3 import connection, connectionpool, poolmanager
from urllib3.util import connection as addresses
from urllib3.util.proxy import connection_requires_http_tunnel

from beacon.boundary import idle_socket, proxies
from beacon.notifier.transport import connector, tunnel

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
                lookup = _Lookup()
                threading.Thread(target=self._look_up, args=(host, port, lookup), name="lookup", daemon=True).start()
                self._under_way[host, port] = lookup  # only now: starting the thread may fail
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


class BoundedConnection:
    """Mixin for urllib3's plain and TLS connections: opens them within a deadline, or until the loop abandons it."""

    resolver: Resolver
    socks: proxies.Proxy | None
    opening: connector.ConnectionAttempt

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
            tunnel.open_tunnel(self.sock, self._tunnel_host, self._tunnel_port, self._tunnel_headers)  # type: ignore[attr-defined]
        except OSError:
            self.close()  # type: ignore[attr-defined]
            raise

    def _new_conn(self) -> socket.socket:
        """Connect within the deadline of the opening."""
        until = self.opening.deadline
        host, port = self._dns_host.strip("[]"), self.port  # type: ignore[attr-defined]
        if self.socks is not None:
            return self._connect_by_socks(self.socks, (host, port), until)
        connected = _connect(self.resolver.resolve(host, port, until=until), port, until)
        self.opening.guard(connected)
        return connected

    def _connect_by_socks(self, proxy: proxies.Proxy, target: tuple[str, int], until: float) -> socket.socket:
        from beacon.boundary import socks5  # noqa: PLC0415  rarely used

        def resolve(host: str, port: int) -> list[str]:
            return self.resolver.resolve(host, port, until=until)

        guard = self.opening.guard
        return socks5.connect(proxy, target, resolve=resolve, until=until, on_socket=guard, options=_OPTIONS)


class _PlainConnection(BoundedConnection, connection.HTTPConnection):
    pass


class _TlsConnection(BoundedConnection, connection.HTTPSConnection):
    pass


class OpeningPool(Protocol):
    """urllib3's pool of one endpoint, from which only new connections are taken."""

    def open(self, opening: connector.ConnectionAttempt, *, scheme: str) -> idle_socket.Stream:
        """Return a new connection, through the proxy if there is one; `scheme` is that of the endpoint.

        Raises:
            OSError, exceptions.HTTPError: it can't be opened.
        """


class _Opens:
    """Mixin for urllib3's pools."""

    proxy: Any
    proxy_config: Any

    def open(self, opening: connector.ConnectionAttempt, *, scheme: str) -> idle_socket.Stream:
        made: Any = self._new_conn()  # type: ignore[attr-defined]
        made.opening = opening
        try:
            if connection_requires_http_tunnel(self.proxy, self.proxy_config, scheme):
                self._prepare_proxy(made)  # type: ignore[attr-defined]
            else:
                made.connect()
            connected: idle_socket.Stream = made.sock
            made.sock = None
        finally:
            made.close()
        return connected


class _PlainPool(_Opens, connectionpool.HTTPConnectionPool):
    pass


class _TlsPool(_Opens, connectionpool.HTTPSConnectionPool):
    pass


class Adapter(adapters.HTTPAdapter):
    """One endpoint's pool of connections, all under one TLS context."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        resolver: Resolver,
        proxy: proxies.Proxy | None = None,
        proxy_context: ssl.SSLContext | None = None,
    ) -> None:
        """Open all connections through `proxy`; `proxy_context` is for an https proxy."""
        self._context = context
        self._proxy = proxy
        self._proxy_context = proxy_context
        bound = {"resolver": resolver, "socks": proxy if proxy and proxy.is_socks else None}
        plain = type("PlainConnection", (_PlainConnection,), bound)
        tls = type("TlsConnection", (_TlsConnection,), bound)
        self._pools = {
            "http": type("PlainPool", (_PlainPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (_TlsPool,), {"ConnectionCls": tls}),
        }
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

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

    @property
    def forwarding_headers(self) -> dict[str, str]:
        """Return the headers for the proxy only."""
        return self.proxy_headers("")

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
