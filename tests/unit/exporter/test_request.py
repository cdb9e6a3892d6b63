"""Parsing a request head: any bytes, in any pieces, end in a request or a refusal."""

import itertools
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beacon.exporter import request

TOKENS = [
    *(b"GET", b"HEAD", b"POST", b"BREW", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b":", b"/", b"/ready?a=b", b"*"),
    *(b" HTTP/1.1", b" HTTP/1.0", b"HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"http://x", b"[", b"%00", b"\xff"),
    *(b"Host: a", b"Accept: text/plain", b"Content-Length: 3", b"Content-Length: 2, 2", b"Transfer-Encoding: chunked"),
    *(b"Content-Type: multipart/x; boundary*=a; boundary*0=b", b"Expect: 100-continue", b"Upgrade: websocket"),
    *(b"Connection: close", b"Connection: upgrade", b"\x16\x03\x01\x02\x00", b"5\r\nabcde\r\n0\r\n\r\n", b"a" * 5000),
]
rubbish = st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)), max_size=30).map(b"".join)
requests = rubbish.map(lambda more: b"GET /ready HTTP/1.1\r\n" + more)


def fed(data: bytes, size: int) -> tuple[request.HeadReader, bool]:
    reader = request.HeadReader()
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return reader, any(itertools.starmap(reader.feed, ((piece,) for piece in pieces)))


@settings(max_examples=300, deadline=None)
@given(st.one_of(rubbish, requests), st.integers(1, 64))
def test_any_bytes_in_any_pieces_are_parsed_or_refused(data: bytes, size: int) -> None:
    whole, ended = fed(data, len(data) or 1)
    pieces, ended_too = fed(data, size)

    assert len(whole.path) <= request.LONGEST_HEAD
    if ended and whole.refusal is None:
        assert (ended_too, pieces.refusal) == (True, None)
        assert (whole.path, whole.accept, whole.bodiless) == (pieces.path, pieces.accept, pieces.bodiless)


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("endless", [b"G", b"GET /", b"GET / HTTP/1.1\r\nA: ", b"GET / HTTP/1.1\r\n", b"\r\n", b"GET"])
@pytest.mark.parametrize("more", [b"a", b" ", b"\r\n", b"A: b\r\n", b"\n", b"\0", b"\r", b"\xff"])
def test_no_head_is_unbounded(endless: bytes, more: bytes, size: int) -> None:
    assert fed(endless + more * (70_000 // len(more)), size)[1]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_end_in_crlf_or_in_a_line_feed(ending: bytes, size: int) -> None:
    lines = [b"HEAD /ready HTTP/1.0", b"Accept: a", b"X: y", b"Accept: b", b"", b""]

    reader, ended = fed(ending.join(lines), size)

    assert (ended, reader.refusal, reader.path, reader.accept, reader.bodiless) == (True, None, b"/ready", "a, b", True)


def test_an_invalid_method_is_400_and_not_405() -> None:
    assert fed(b"BREW /ready HTTP/1.1\r\n\r\n", 100)[0].refusal == HTTPStatus.METHOD_NOT_ALLOWED
    assert fed(b"\x16\x03\x01 \x01\r\n\r\n", 100)[0].refusal == HTTPStatus.BAD_REQUEST
