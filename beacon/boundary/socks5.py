"""Connections through a SOCKS proxy, by PySocks; imported only where such a proxy is configured.

PySocks bounds each read of its handshake, not the whole of it, so a timer shuts the socket down when the time is up.
The caller gets the socket, too, before anything is sent on it.
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
    """Return a connection to a target host and port, made by the proxy; `until` is monotonic.

    `resolve` returns the addresses of a host and its port.

    Raises:
        OSError: there is none; TimeoutError: not in time.
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
            refused = _in_words(error, proxy, timed_out=expired.is_set())
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
    """Shut a socket down when the time is up; the event is set then."""
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
    """Return the same connection without the methods of PySocks, which are needed for UDP only."""
    plain = socket.socket(fileno=made.detach())
    plain.settimeout(None)
    return plain


def _in_words(error: OSError, proxy: proxies.Proxy, *, timed_out: bool) -> OSError:
    inner = getattr(error, "socket_err", None) or error
    if timed_out or isinstance(inner, TimeoutError):
        return TimeoutError(f"the proxy {proxy.url} did not connect in time")
    return OSError(f"the proxy {proxy.url} did not connect: {getattr(inner, 'strerror', None) or error}")
