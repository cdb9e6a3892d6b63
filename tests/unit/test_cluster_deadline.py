"""A response that arrives byte by byte exceeds the limit of the whole, though no single read does. Real sockets."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from beacon.boundary import proxies
from beacon.boundary import tls as contexts
from beacon.cluster import connection, credentials, discovery, failures, lists, reviewing, watching
from beacon.dev.api_server import tls

CONFIGMAPS = discovery.ServedResource(group="", version="v1", plural="configmaps", namespaced=True)
TOTAL_S = 0.2
DROP_S = 0.02
HANG_S = 3600.0  # longer than a test may take

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "status line": (b"", b"H"),
    "header": (HEAD + b"X-Long: ", b"x"),
    "headers": (HEAD, b"X-More: 1\r\n"),
    "informational answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body of a length": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body without a length": (HEAD + b"Connection: close\r\n\r\n", b" "),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: 1\r\n"),
    "body of an error": (b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "body of a 401": (b"HTTP/1.1 401 No\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "nothing": (b"", b""),
}


@contextlib.contextmanager
def dripping(
    first: bytes,
    drop: bytes,
    *,
    total_s: float = TOTAL_S,
    authority: tls.ApiAuthority | None = None,
    address: str = "http://127.0.0.1:{port}",
    proxy: str | None = None,
) -> Iterator[connection.Connection]:
    """Answer every request with `first`, and then a drop every now and then for as long as the client listens."""
    over = threading.Event()

    def serve(accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted:
            peer = authority.context().wrap_socket(accepted, server_side=True) if authority else accepted
            with peer:
                peer.recv(65536)
                peer.sendall(first)
                while not over.wait(DROP_S):
                    peer.sendall(drop)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    def load() -> credentials.Access:
        return credentials.Access(
            server=address.format(port=port),
            context=contexts.bare(verify=False),
            proxy=proxies.parse(proxy.format(port=port), "proxy") if proxy else None,
        )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield connection.Connection(load, connect_s=HANG_S, read_s=total_s)
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def in_time(ask: Callable[[], object]) -> str:
    """Return what stopped a request."""
    with pytest.raises(failures.Unreachable) as caught:
        ask()
    return str(caught.value)


@pytest.mark.parametrize("where", DRIPS)
def test_a_response_that_drips_anywhere_is_cancelled_after_its_total_time(where: str) -> None:
    with dripping(*DRIPS[where]) as api:
        assert "no response in time" in in_time(lambda: api.get("/api/v1/configmaps"))


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("where", ["headers", "body of a length", "chunks"])
def test_tls_makes_no_difference(where: str) -> None:
    authority = tls.ApiAuthority("127.0.0.1")
    with dripping(*DRIPS[where], authority=authority, address="https://127.0.0.1:{port}") as api:
        assert "no response in time" in in_time(lambda: api.get("/api/v1/configmaps"))


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:{port}"], ids=["handshake", "proxy's answer"])
def test_the_time_before_a_response_counts_towards_the_total_time(proxy: str | None) -> None:
    # A record of 16 KiB with a ServerHello, of which zeros arrive one by one.
    first, drop = DRIPS["headers"] if proxy else (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\0")
    with dripping(first, drop, address="https://127.0.0.1:{port}", proxy=proxy) as api:
        assert "no response in time" in in_time(lambda: api.get("/api/v1/configmaps"))


@pytest.mark.parametrize(
    "ask",
    [
        lambda api: discovery.find(api, "v1", "ConfigMap"),
        lambda api: next(lists.pages(api, CONFIGMAPS, "")),
        lambda api: lists.current(api, CONFIGMAPS, ""),
        lambda api: lists.one(api, CONFIGMAPS, "a", "b"),
        lists.cluster_uid,
        lambda api: reviewing.allowed(api, "list", group="", resource="configmaps"),
    ],
    ids=["discovery", "a page", "the version", "an object", "the identity", "a review"],
)
def test_every_request_has_a_total_time(ask: Callable[[connection.Connection], object]) -> None:
    with dripping(*DRIPS["body of a length"]) as api:
        in_time(lambda: ask(api))


def test_a_watch_whose_head_drips_is_cancelled() -> None:
    with dripping(*DRIPS["headers"]) as api:
        in_time(lambda: watching.start(api, CONFIGMAPS, "", position=1, timeout_s=60, inactive_s=60))


def test_a_watch_may_take_longer_than_a_response() -> None:
    line = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5"}}}\n'
    chunk = b"%x\r\n%b\r\n" % (len(line), line)
    with dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, total_s=1.0) as api:
        began, lines = time.monotonic(), 0
        with watching.start(api, CONFIGMAPS, "", position=1, timeout_s=60, inactive_s=60) as watch:
            while time.monotonic() - began < 1.5:
                lines += len(watch.read(0.1))

        assert lines


def test_a_thread_sends_a_heartbeat_before_each_of_several_requests() -> None:
    beats = []
    with dripping(*DRIPS["body of a 401"]) as api:
        api.set_heartbeat(lambda: beats.append(threading.get_ident()))
        stranger = threading.Thread(target=in_time, args=(lambda: api.get("/api/v1/configmaps"),))
        stranger.start()
        for _ in range(2):
            in_time(lambda: api.get("/api/v1/configmaps"))
        stranger.join()

    assert beats == [threading.get_ident()] * 2
