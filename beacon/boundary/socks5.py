"""Connections through a SOCKS proxy, by PySocks; imported only if such a proxy is configured.

PySocks limits each read of its handshake, not the whole handshake, so a timer shuts the socket down when the time is
up. The caller receives the socket before anything is sent, so that it can close it, too.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import socks

from beacon.boundary import proxies

Resolve = Callable[[str, int], list[str]]
Options = Sequence[tuple[int, int, int | bytes]]


def connect(
    proxy: proxies.Proxy,
    target: tuple[str, int],
    *,
    until: float,
    resolve: Resolve,
    options: Options,
    on_socket: Callable[[socket.socket], None] = lambda _: None,
) -> socket.socket:
    """Return a connection through the proxy to a target host and port; `until` is a monotonic instant.

    `resolve` returns the addresses of a host and port.

    Raises:
        OSError: the connection failed; TimeoutError: not in time.
    """
    host, port = target
    hosts = [host] if proxy.scheme == "socks5h" else resolve(host, port)
    routes = [(at, name) for at in resolve(proxy.host, proxy.port) for name in hosts]
    refused: OSError = TimeoutError("no time was left to connect")
    for index, (at, name) in enumerate(routes):
        left_s = until - time.monotonic()
        if left_s <= 0:
            break
        made = _make_socket(proxy, at, options)
        try:
            on_socket(made)
            with _shut_after(left_s / (len(routes) - index), made) as expired:
                made.connect((name, port))
        except OSError as error:
            made.close()
            refused = _translate_error(error, proxy, timed_out=expired.is_set())
        else:
            return _plain(made)
    raise refused


def _make_socket(proxy: proxies.Proxy, address: str, options: Options) -> socks.socksocket:
    made = socks.socksocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    for option in options:
        made.setsockopt(*option)
    made.set_proxy(
        socks.SOCKS5, address, proxy.port, rdns=True, username=proxy.username or None, password=proxy.password or None
    )
    return made


@contextlib.contextmanager
def _shut_after(left_s: float, made: socks.socksocket) -> Iterator[threading.Event]:
    """Shut a socket down and set the event when the time is up."""
    expired = threading.Event()
    guard = socket.socket(fileno=os.dup(made.fileno()))

    def expire() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            guard.shutdown(socket.SHUT_RDWR)

    made.settimeout(left_s)
    timer = threading.Timer(left_s, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()
        guard.close()


def _plain(made: socks.socksocket) -> socket.socket:
    """Return the connection as a plain socket: the methods of PySocks are needed for UDP only."""
    plain = socket.socket(fileno=made.detach())
    plain.settimeout(None)
    return plain


def _translate_error(error: OSError, proxy: proxies.Proxy, *, timed_out: bool) -> OSError:
    inner = getattr(error, "socket_err", None) or error
    if timed_out or isinstance(inner, TimeoutError):
        return TimeoutError(f"the proxy {proxy.url} did not connect in time")
    return OSError(f"the proxy {proxy.url} did not connect: {getattr(inner, 'strerror', None) or error}")
