"""One request and its response: the bytes sent, and the result when the two overlap."""

import contextlib
import selectors
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from beacon.notifier.transport import exchange, response_parser, stream
from beacon.notifier.transport.response_parser import InvalidResponse
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
    call = exchange.HttpExchange(stream.of(ours), LARGE)

    def serve() -> None:
        read(theirs, len(LARGE))
        theirs.sendall(ACCEPTED)

    with beside(serve):
        response = run(call, ours)

    assert call.sent
    assert (response.status, response.reusable) == (204, True)


def test_an_interim_response_does_not_stop_a_request(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(stream.of(ours), LARGE)

    def serve() -> None:
        theirs.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        read(theirs, len(LARGE))
        theirs.sendall(ACCEPTED)

    with beside(serve):
        response = run(call, ours)

    assert call.sent
    assert (response.status, response.reusable) == (204, True)


@pytest.mark.parametrize("last", [len(TOO_LARGE), len(TOO_LARGE) - 2])
def test_a_refusal_that_comes_before_the_end_of_the_request_counts(pair: Pair, last: int) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(stream.of(ours), LARGE)
    theirs.sendall(TOO_LARGE[:last])

    run(call, ours, until=lambda: call._has_begun)
    theirs.sendall(TOO_LARGE[last:])
    response = run(call, ours)

    assert not call.sent
    assert (response.status, response.body, response.reusable) == (413, b"long", False)


def test_a_refusal_before_a_reset_counts(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(stream.of(ours), LARGE)
    theirs.sendall(TOO_LARGE)
    theirs.close()  # with unread bytes: a reset follows

    assert run(call, ours).status == 413


def test_an_event_is_not_accepted_if_it_cannot_be_sent_whole(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(stream.of(ours), LARGE)
    theirs.sendall(ACCEPTED)
    theirs.close()

    with pytest.raises((InvalidResponse, OSError)):
        run(call, ours)

    assert not call.sent


@pytest.mark.parametrize("first", [12, len(ACCEPTED)])
def test_an_event_that_is_accepted_before_its_end_is_sent_to_its_end(pair: Pair, first: int) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(stream.of(ours), LARGE)
    theirs.sendall(ACCEPTED[:first])
    pairs.wait_until_arrived(theirs)

    def serve() -> None:
        read(theirs, len(LARGE))
        theirs.sendall(ACCEPTED[first:])

    with beside(serve):
        response = run(call, ours)

    assert call.sent
    assert (response.status, response.reusable) == (204, False)


def test_a_malformed_response_ends_the_sending(pair: Pair) -> None:
    ours, theirs = pair
    call = exchange.HttpExchange(stream.of(ours), LARGE)
    theirs.sendall(b"what?\r\n\r\n")

    with pytest.raises(InvalidResponse, match=r"what\?"):
        run(call, ours)


def run(
    call: exchange.HttpExchange, sock: Any, *, until: Callable[[], bool] = lambda: False
) -> response_parser.EndpointResponse:
    """Drive an exchange as the loop does, to its end or to a condition."""
    with selectors.DefaultSelector() as selector:
        response = call.start()
        while response is None and not until():
            key = selector.register(sock, call.events)
            assert selector.select(100)
            selector.unregister(key.fileobj)
            response = call.advance()
    return response  # type: ignore[return-value]  # None only at the condition


def read(sock: Any, size: int) -> None:
    while size > 0:
        size -= len(sock.recv(1 << 20))


class Scripted:
    """A stream that accepts nothing at first, and holds a response when it accepts the rest of the request."""

    def __init__(self) -> None:
        self.accepts = False
        self.received = [ACCEPTED]

    def fileno(self) -> int:
        raise AssertionError

    def send(self, data: memoryview) -> int:
        if not self.accepts:
            raise BlockingIOError
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self.received:
            raise BlockingIOError
        return self.received.pop()

    def flush(self) -> bool:
        return True

    def has_pending(self) -> bool:
        return False

    def is_silent(self) -> bool:
        return not self.received

    def close(self) -> None:
        pass


def test_a_response_that_is_here_before_the_last_piece_of_the_request_is_early() -> None:
    line = Scripted()
    call = exchange.HttpExchange(line, SMALL)
    assert call.start() is None
    line.accepts = True

    response = call.advance()

    assert response is not None
    assert (response.status, response.reusable) == (204, False)
