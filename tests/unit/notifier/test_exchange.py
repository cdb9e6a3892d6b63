"""Requests and answers as bytes: what is done by hand is what the library does."""

import contextlib
import http.client
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beacon.notifier import exchange

STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.1 204", b"HTTP/1.1 503 Not now", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 "]
ODD_STATUS_LINES = [b"HTTP/1.1 100 Continue", b"HTTP/1.1 2000 OK", b"HTTP/1.1", b"ICY 200 OK", b"", b"http/1.1 200 OK"]
HEADERS = [
    b"Content-Length: 5",
    b"content-length:5",
    b"Connection: close",
    b"Retry-After: 7",
    b"Server: x",
    b"X-Empty:",
]
ODD_HEADERS = [
    b"Content-Length: 9",
    b"Content-Length: -1",
    b"Content-Length: five",
    b"Transfer-Encoding: chunked",
    b"Location: /elsewhere",
    b"Content-Encoding: gzip",
    b"Connection: Keep-Alive",
    b" folded",
    b"no colon",
    b"Space : before",
    b"X-Latin: \xe9",
]
BODIES = [b"", b"hello", b"hello and more", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel"]
OUTCOME = tuple[int, str, bytes, dict[str, str]] | str


ANSWERS = st.builds(
    lambda first, lines, end, body, cut: (end.join([first, *lines]) + end + end + body)[:cut],
    first=st.sampled_from(STATUS_LINES) | st.sampled_from(ODD_STATUS_LINES),
    lines=st.lists(st.sampled_from(HEADERS) | st.sampled_from(ODD_HEADERS), max_size=4),
    end=st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
    body=st.sampled_from(BODIES),
    cut=st.none() | st.integers(0, 120),
)


@settings(max_examples=1000)
@given(answer=ANSWERS, at_once=st.integers(1, 40))
def test_an_answer_says_what_it_says_to_the_library(answer: bytes, at_once: int) -> None:
    found, wanted = _outcome(_Pieces(answer, at_once)), _outcome(_Pieces(answer, 4096), by_library=True)

    assert found == wanted


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_a_connection_is_kept_when_it_can_carry_another_request(answer: bytes, *, kept: bool) -> None:
    reply = exchange.receive(_Pieces(answer, 4096), "POST")

    assert reply.kept is kept


def test_what_is_plain_is_not_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(http.client, "HTTPResponse")

    reply = exchange.receive(
        _Pieces(b"HTTP/1.1 503 Not now\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nhello", 7), "POST"
    )

    assert (reply.status, reply.reason, reply.body) == (503, "Not now", b"hello")
    assert reply.headers == {"Retry-After": "7"}


def test_a_form_filled_in_is_the_request_that_the_library_would_send() -> None:
    headers: dict[str, str | bytes] = {"Host": "example:8080", "User-Agent": "beacon", "X-Own": "säule".encode()}
    ids = {"X-Request-ID": b"11111111-2222", "X-Beacon-Event-ID": b"33333333-4444"}

    filled = exchange.Form("PUT", "/in?a=b", headers).fill("11111111-2222", "33333333-4444", b'{"a":1}')

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
        exchange.Form("POST", "/", {"Authorization": b"Bearer a\r\nX-Smuggled: b"})


class _Pieces:
    """A socket from which so many bytes at a time can be read, and that is closed then."""

    def __init__(self, data: bytes, at_once: int) -> None:
        self._data = data
        self._at_once = at_once

    def recv(self, size: int) -> bytes:
        size = min(size, self._at_once)
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def _outcome(stream: _Pieces, *, by_library: bool = False) -> OUTCOME:
    try:
        reply = exchange._read_by_library(stream, b"", "POST") if by_library else exchange.receive(stream, "POST")
    except (http.client.HTTPException, OSError, ValueError):
        return "no answer"
    return reply.status, reply.reason, reply.body, {name: value.strip() for name, value in reply.headers.items()}
