"""The HTTP transport of the official client, over a connection pool that is created here.

The client's own pool takes proxies from the environment, which apply to the endpoint, and its TLS verification depends
on the version of Python. The client's loaders of credentials are not used: they run plugins without a time limit, and
continue without credentials if a plugin fails.
"""

import socket
import ssl
import time
import warnings
from typing import Any

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from kubernetes.utils.keepalive import tcp_keepalive_socket_options
from urllib3 import connection, connectionpool

from beacon.boundary import proxies, tls
from beacon.cluster import credentials

__all__ = ["ApiException", "RESTClientObject", "client"]


def client(access: credentials.Access) -> RESTClientObject:
    """Return the client's transport for one access; the caller adds the credentials to each request."""
    # An empty proxy, unlike None, prevents the client from reading the environment.
    configuration = Configuration(host=access.server, proxy="", no_proxy="", retries=False)
    made = RESTClientObject(configuration)
    made.pool_manager = _pools(access)
    if access.context.verify_mode == ssl.CERT_NONE:  # set in the kubeconfig; urllib3 would warn at each request
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
    return made


def _pools(access: credentials.Access) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "maxsize": access.connections,
        "retries": False,  # the streams retry, and report that
        "socket_options": _socket_options(),
        "ssl_context": access.context,
    }
    if access.server_name:
        options["server_hostname"] = access.server_name
    proxy = access.proxy
    if proxy is None:
        return urllib3.PoolManager(**options)
    if proxy.is_socks:
        manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = _socks_pools(proxy)
        return manager
    headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else None
    context = _proxy_context(access) if proxy.scheme == "https" else None
    return urllib3.ProxyManager(proxy.url, proxy_headers=headers, proxy_ssl_context=context, **options)


def _proxy_context(access: credentials.Access) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those of the cluster."""
    context = tls.bare()
    tls.trust_system(context)
    for authority in access.context.get_ca_certs(binary_form=True):
        context.load_verify_locations(cadata=authority)
    return context


def _socks_pools(proxy: proxies.Proxy) -> dict[str, type[connectionpool.HTTPConnectionPool]]:
    plain = type("Plain", (_SocksConnection, connection.HTTPConnection), {"by": proxy})
    secure = type("Secure", (_SocksConnection, connection.HTTPSConnection), {"by": proxy})
    return {
        "http": type("PlainPool", (connectionpool.HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (connectionpool.HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


class _SocksConnection:
    """A mixin for urllib3's connections: connects through a SOCKS proxy."""

    by: proxies.Proxy

    def _new_conn(self) -> socket.socket:
        from beacon.boundary import socks5  # noqa: PLC0415  seldom needed

        target: Any = self
        return socks5.connect(
            self.by,
            (target.host.strip("[]"), target.port),
            until=time.monotonic() + target.timeout,
            resolve=_resolve,
            options=_socket_options(),
        )


def _resolve(host: str, port: int) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _socket_options() -> list[tuple[int, int, int | bytes]]:
    options = list(tcp_keepalive_socket_options(idle=30, interval=10, count=3))
    return [*options, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)]
