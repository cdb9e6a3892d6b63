"""One request and its response: the bytes sent, and the result when the two overlap."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from beacon.notifier import exchange
from beacon.notifier.response_parser import InvalidResponse
from tests.unit.notifier import pairs

SMALL = b"POST / HTTP/1.1\r\n\r\n"
LARGE = SMALL + b"x" * 8_000_000  # more than the kernel buffers
TOO_LARGE = b"HTTP/1.1 413 Too large\r\nContent-Length: 4\r\n\r\nlong"
ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"

pytestmark = pytest.mark.timeout(30)

Pair = tuple[Any, Any]


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    ours, theirs = pairs.encrypted() if request.param == "tls" else pairs.plain()
    with ours, theirs:
        yield ours, theirs


@contextlib.contextmanager
def beside(act: Callable[[], object]) -> Iterator[None]:
    """Run a function in another thread."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join(100)
    assert not thread.is_alive()


def test_a_response_that_comes_after_the_request_leaves_the_connection_usable(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)

    def serve() -> None:
        read(theirs, len(LARGE))
        theirs.sendall(ACCEPTED)

    with beside(serve):
        call.send(LARGE)
        response = call.receive()

    assert call.sent
    assert (response.status, response.reusable) == (204, True)
    assert ours.gettimeout() is None


def test_an_interim_response_does_not_stop_a_request(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)

    def serve() -> None:
        theirs.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        read(theirs, len(LARGE))
        theirs.sendall(ACCEPTED)

    with beside(serve):
        call.send(LARGE)
        response = call.receive()

    assert call.sent
    assert (response.status, response.reusable) == (204, True)


@pytest.mark.parametrize("last", [len(TOO_LARGE), len(TOO_LARGE) - 2])
def test_a_refusal_that_comes_before_the_end_of_the_request_counts(pair: Pair, last: int) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)
    theirs.sendall(TOO_LARGE[:last])

    call.send(LARGE)
    theirs.sendall(TOO_LARGE[last:])
    response = call.receive()

    assert not call.sent
    assert (response.status, response.body, response.reusable) == (413, b"long", False)


def test_a_refusal_before_a_reset_counts(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)
    theirs.sendall(TOO_LARGE)
    theirs.close()  # with unread bytes: a reset follows

    with contextlib.suppress(OSError):
        call.send(LARGE)

    assert call.receive().status == 413


def test_an_event_is_not_accepted_if_it_cannot_be_sent_whole(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)
    theirs.sendall(ACCEPTED)
    theirs.close()

    with contextlib.suppress(OSError):
        call.send(LARGE)

    assert not call.sent
    with pytest.raises((InvalidResponse, OSError)):
        call.receive()


@pytest.mark.parametrize("first", [12, len(ACCEPTED)])
def test_an_event_that_is_accepted_before_its_end_is_sent_to_its_end(pair: Pair, first: int) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)
    theirs.sendall(ACCEPTED[:first])
    pairs.wait_until_arrived(theirs)

    def serve() -> None:
        read(theirs, len(LARGE))
        theirs.sendall(ACCEPTED[first:])

    with beside(serve):
        call.send(LARGE)
        response = call.receive()

    assert call.sent
    assert (response.status, response.reusable) == (204, False)


def test_a_malformed_response_ends_the_sending(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(ours)
    theirs.sendall(b"what?\r\n\r\n")

    with pytest.raises(InvalidResponse, match=r"what\?"):
        call.send(LARGE)


def read(sock: Any, size: int) -> None:
    while size > 0:
        size -= len(sock.recv(1 << 20))


def test_a_filled_template_equals_the_request_of_the_library() -> None:
    headers: dict[str, str | bytes] = {"Host": "example:8080", "User-Agent": "beacon", "X-Own": "säule".encode()}
    ids = {"X-Request-ID": b"11111111-2222", "X-Beacon-Event-ID": b"33333333-4444"}

    filled = exchange.RequestTemplate("PUT", "/in?a=b", headers).fill("11111111-2222", "33333333-4444", b'{"a":1}')

    with socket.create_server(("127.0.0.1", 0)) as server:
        library = http.client.HTTPConnection(*server.getsockname())
        library.connect()
        other, _ = server.accept()
        with contextlib.closing(library), other:
            library.request("PUT", "/in?a=b", b'{"a":1}', {**headers, **ids})
            sent = other.recv(4096)
    assert sorted(filled.split(b"\r\n")) == sorted(sent.split(b"\r\n"))
    assert filled.endswith(b'\r\n\r\n{"a":1}')


def test_a_header_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        exchange.RequestTemplate("POST", "/", {"Authorization": b"Bearer a\r\nX-Smuggled: b"})
