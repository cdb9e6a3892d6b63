"""Streams that never wait: plain, TLS, and TLS within TLS."""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme
from urllib3.util import ssltransport

from beacon.notifier.transport import stream
from tests.unit.notifier import pairs

LARGE = bytes(range(256)) * 40_000  # more than the kernel buffers

pytestmark = pytest.mark.timeout(60)


class Nested:
    """The peer of TLS within TLS, on a socket that has the outer layer."""

    def __init__(self, outer: socket.socket, context: ssl.SSLContext) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self) -> None:
        while True:
            try:
                self._inner.do_handshake()
            except ssl.SSLWantReadError:
                self._outer.sendall(self._outgoing.read())
                self._incoming.write(self._outer.recv(65536))
            else:
                self._outer.sendall(self._outgoing.read())
                return

    def sendall(self, data: bytes) -> None:
        self._inner.write(data)
        self._outer.sendall(self._outgoing.read())

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._inner.read(size)
            except ssl.SSLWantReadError:
                self._incoming.write(self._outer.recv(65536))

    def close(self) -> None:
        self._outer.close()


@pytest.fixture(params=["plain", "tls", "nested"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[stream.NonBlockingStream, Nested | socket.socket]]:
    """Our stream and the peer, which blocks."""
    ours, theirs = pairs.plain() if request.param == "plain" else pairs.encrypted()
    peer: Nested | socket.socket = theirs
    made: socket.socket | ssltransport.SSLTransport = ours
    if request.param == "nested":
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)
        peer = Nested(theirs, server)
        thread = threading.Thread(target=peer.handshake)
        thread.start()
        made = ssltransport.SSLTransport(ours, client, server_hostname="127.0.0.1")
        thread.join()
    mine = stream.of(made)
    yield mine, peer
    mine.close()
    peer.close()


def wait(sock: stream.NonBlockingStream, events: int) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(sock.fileno(), events)
        assert selector.select(100)


def receive(sock: stream.NonBlockingStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            data += sock.recv(16384)
        except stream.WOULD_BLOCK:
            wait(sock, selectors.EVENT_READ)
    return data


def test_what_is_sent_arrives_whole_though_the_stream_never_waits(
    ends: tuple[stream.NonBlockingStream, Nested | socket.socket],
) -> None:
    mine, peer = ends
    arrived = bytearray()

    def read() -> None:
        while len(arrived) < len(LARGE):
            arrived.extend(peer.recv(65536))

    rest, waits = memoryview(LARGE), 0
    thread = threading.Thread(target=read)
    while rest or not mine.flush():
        try:
            rest = rest[mine.send(rest[:65536]) :] if rest else rest
        except stream.WOULD_BLOCK:
            waits += 1
            if not thread.is_alive():
                thread.start()
            wait(mine, selectors.EVENT_WRITE)
    thread.join()

    assert waits
    assert bytes(arrived) == LARGE


def test_what_the_peer_sends_is_received_and_the_stream_is_silent_again(
    ends: tuple[stream.NonBlockingStream, Nested | socket.socket],
) -> None:
    mine, peer = ends
    with contextlib.suppress(*stream.WOULD_BLOCK):
        mine.recv(1)
        pytest.fail("nothing was sent")

    peer.sendall(b"an answer")
    assert receive(mine, 9) == b"an answer"

    assert mine.is_silent()
    assert not mine.has_pending()


def test_bytes_without_a_request_are_detected(ends: tuple[stream.NonBlockingStream, Nested | socket.socket]) -> None:
    mine, peer = ends
    peer.sendall(b"first")
    assert receive(mine, 5) == b"first"

    peer.sendall(b"unasked")
    wait(mine, selectors.EVENT_READ)

    assert not mine.is_silent()


def test_bytes_of_a_record_that_was_read_in_part_are_pending(
    ends: tuple[stream.NonBlockingStream, Nested | socket.socket],
) -> None:
    mine, peer = ends
    peer.sendall(b"two")
    wait(mine, selectors.EVENT_READ)
    data = b""
    while not data:
        with contextlib.suppress(*stream.WOULD_BLOCK):
            data = mine.recv(1)

    assert data == b"t"
    assert mine.has_pending() or not isinstance(peer, Nested | ssl.SSLSocket)
    assert not mine.is_silent()


def test_the_end_of_the_stream_is_no_error(ends: tuple[stream.NonBlockingStream, Nested | socket.socket]) -> None:
    mine, peer = ends
    peer.close()
    wait(mine, selectors.EVENT_READ)

    assert mine.recv(100) == b""
    assert not mine.is_silent()
