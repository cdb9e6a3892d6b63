"""Bytes are parsed to one response or rejected, however they are split."""

import gc
import weakref
from dataclasses import replace

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beacon.notifier.transport import response_parser
from beacon.notifier.transport.response_parser import EndpointResponse, InvalidResponse

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
KIB = 1024


def parse(data: bytes, *, at_once: int = 1 << 20, head_only: bool = False) -> EndpointResponse:
    """Feed pieces, then the end of the stream."""
    parser = response_parser.ResponseParser(head_only=head_only)
    for position in range(0, len(data), at_once):
        response = parser.feed(data[position : position + at_once])
        if response is not None:
            return replace(response, reusable=response.reusable and position + at_once >= len(data))
    return parser.end_of_stream()


def feed_all(parser: response_parser.ResponseParser, data: bytes, at_once: int) -> None:
    for position in range(0, len(data), at_once):
        parser.feed(data[position : position + at_once])


@pytest.mark.parametrize("at_once", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(
    ("data", "status", "body", "reusable"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 304, b"", False),
        (OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
        (b"HTTP/1.1 503\r\nContent-Length: 2\r\n\r\nno", 503, b"no", True),
        (b"HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", 999, b"", True),
        (b"\r\n\r\n" + EMPTY, 200, b"", True),
        (b"\n\n\n" + EMPTY, 200, b"", True),
        (b"HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nok", 200, b"ok", True),
        (OK + b"A: b\r\n folded\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
        (OK + b"A: b\x00\x01c\xe9\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
        (OK + b"Content-Type: multipart/x; boundary*=a; boundary*0=b\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", 200, b"hello", True),
        (CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 200, b"hello", True),
        (CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0\r\nRetry-After: 9\r\nA: b\r\n\r\n', 200, b"hello", True),
        (OK + b"Transfer-Encoding: gzip, CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
        (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nok", 200, b"ok", False),
        (OK + b"Transfer-Encoding: identity\r\n\r\nok", 200, b"ok", False),
        (OK + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
        (OK + b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (OK + b"Transfer-Encoding: identity\r\nContent-Length: " + b"0" * 5000 + b"2\r\n\r\nok", 200, b"ok", False),
        (OK + b"Transfer-Encoding: gzip\r\nContent-Length: 9\r\n\r\nok", 200, b"ok", False),
        (OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
        (b"HTTP/1.1 426 No\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nok", 426, b"ok", False),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", False),
        (OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", False),
        (OK + b"\r\nall that comes", 200, b"all that comes", False),
        (b"HTTP/1.0 422 No\r\n\r\nwhy", 422, b"why", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive, close\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (OK + b"Connection: CLOSE\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (OK + b"Connection: x , Close\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (OK + b"Connection: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 200, b"", False),
        (OK + b"Connection: closed\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (EMPTY + b"\r\n", 200, b"", False),
        (EMPTY + b"\n", 200, b"", False),
        (EMPTY + EMPTY, 200, b"", False),
        (OK + b"Content-Length: 2\r\n\r\nok!", 200, b"ok", False),
        (CHUNKED + b"0\r\n\r\n\r", 200, b"", False),
    ],
)
def test_a_response_is_read(data: bytes, status: int, body: bytes, at_once: int, *, reusable: bool) -> None:
    response = parse(data, at_once=at_once)

    assert (response.status, response.body, response.reusable) == (status, body, reusable)


def test_equal_responses_are_parsed_once() -> None:
    first = response_parser.known(OK + b"Content-Length: 2\r\n\r\nok")

    assert first is not None
    assert (first.status, first.body, first.reusable) == (200, b"ok", True)
    assert response_parser.known(OK + b"Content-Length: 2\r\n\r\nok") is first


@pytest.mark.parametrize("data", [OK, EMPTY[:-1], b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"\r\nto the end"])
def test_a_part_of_a_response_is_not_known(data: bytes) -> None:
    assert response_parser.known(data) is None


@pytest.mark.parametrize("at_once", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 +200 X\r\n\r\n", "HTTP/1.1 +"),
        (b"HTTP/1.1 -200 X\r\n\r\n", "HTTP/1.1 -"),
        (b"HTTP/1.1 2_00 X\r\n\r\n", "HTTP/1.1 2_"),
        (b"HTTP/1.1  200 X\r\n\r\n", "HTTP/1.1"),
        (b"HTTP/1.1\t200 X\r\n\r\n", "HTTP/1.1"),
        (b"HTTP/1.1 20 X\r\n\r\n", "HTTP/1.1 20"),
        (b"HTTP/1.1 2000 X\r\n\r\n", "HTTP/1.1 2000"),
        (b"HTTP/1.1 200X\r\n\r\n", "HTTP/1.1 200X"),
        (b"HTTP/1.1 0x0 X\r\n\r\n", "HTTP/1.1 0x"),
        (b"HTTP/1.1 \xef\xbc\x92\xef\xbc\x90\xef\xbc\x90 X\r\n\r\n", "HTTP/1.1"),
        (b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 000 X"),
        (b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 099 X"),
        (b"HTTP/2 200 X\r\n\r\n", "HTTP/2"),
        (b"http/1.1 200 OK\r\n\r\n", "h"),
        (b"ICY 200 OK\r\n\r\n", "IC"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "RTSP/1.0 200 OK"),
        (b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "ICE/1.0 200 OK"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "S"),
        (b"POST / HTTP/1.1\r\n\r\n", "P"),
        (OK + b"no colon\r\n\r\n", "no"),
        (OK + b": no name\r\n\r\n", ":"),
        (OK + b"Space : x\r\n\r\n", "Space"),
        (OK + b"Content-Length : 2\r\n\r\nok", "Content-Length"),
        (OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"),
        (OK + b" folded at once\r\n\r\n", "OK"),
        (OK + b"A: b\rC: d\r\n\r\n", "A: b"),
        (OK + b"Content-Length: +5\r\n\r\nhello", "Content-Length: +"),
        (OK + b"Content-Length: -5\r\n\r\nhello", "Content-Length: -"),
        (OK + b"Content-Length: 0x5\r\n\r\nhello", "Content-Length: 0x"),
        (OK + b"Content-Length: 2, 2\r\n\r\nok", "Content-Length: 2,"),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "Content-Length: 2"),
        (OK + b"Content-Length: 2\r\n folded\r\n\r\nok", "Content-Length: 2"),
        (OK + b"Content-Length:\r\n\r\nok", "Content-Length:"),
        (OK + b"Content-Length: " + b"9" * 4300 + b"\r\n\r\nok", "Content-Length: 99"),
        (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", "body"),
        (CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", "body"),
        (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", "body"),
        (CHUNKED + b"F" * 17 + b"\r\nhello\r\n0\r\n\r\n", "body"),
        (CHUNKED + b"5\r\nhello, and more\r\n0\r\n\r\n", "body"),
    ],
)
def test_a_malformed_response_is_rejected_with_the_offending_line(data: bytes, text: str, at_once: int) -> None:
    with pytest.raises(InvalidResponse, match="malformed") as raised:
        parse(data, at_once=at_once)

    assert text in str(raised.value)


@pytest.mark.parametrize("at_once", [1, 1 << 20])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\nA: b\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Content-Length: 18446744073709551615\r\n\r\nhell",
        OK + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhell",
        CHUNKED,
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n",
    ],
)
def test_a_truncated_response_is_rejected(data: bytes, at_once: int) -> None:
    with pytest.raises(InvalidResponse, match="the connection was closed"):
        parse(data, at_once=at_once)


INTERIM = st.sampled_from(
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nConnection: close\r\nRetry-After: 9\r\n\r\n",
        b"HTTP/1.1 199 x\nTransfer-Encoding: chunked\n\n",
        b"HTTP/1.0 110\r\nContent-Length: 0\r\n\r\n",
    ]
)


@given(
    interim=st.lists(INTERIM, min_size=1, max_size=5),
    final=st.sampled_from([EMPTY, b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", CHUNKED + b"1\r\nx\r\n0\r\n\r\n"]),
    at_once=st.integers(1, 200),
)
@example(interim=[b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n"], final=EMPTY, at_once=200)
def test_an_interim_response_is_skipped(interim: list[bytes], final: bytes, at_once: int) -> None:
    assert parse(b"".join(interim) + final, at_once=at_once) == parse(final)


@pytest.mark.parametrize("headers", [b"", b"Upgrade: h2c\r\nConnection: upgrade\r\n"])
def test_a_protocol_switch_is_rejected(headers: bytes) -> None:
    with pytest.raises(InvalidResponse, match=r"HTTP/1\.1 101 Switching"):
        parse(b"HTTP/1.1 101 Switching\r\n" + headers + b"\r\n" + EMPTY)


@pytest.mark.parametrize("at_once", [1000, 1 << 20])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 " + b"a" * 100 * KIB,
        OK + b"A: " + b"a" * 100 * KIB,
        OK + b"a" * 100 * KIB,
        OK + b"a: b\r\n" * 20_000,
        OK + b"A: b\r\n" + b" folded\r\n" * 20_000,
        b"\r\n" * 40_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    ],
)
def test_a_head_that_is_too_long_is_rejected(head: bytes, at_once: int) -> None:
    parser = response_parser.ResponseParser()

    with pytest.raises(InvalidResponse, match="more than 65536 bytes"):
        feed_all(parser, head, at_once)


def test_a_head_may_have_64_kib() -> None:
    fixed = OK + b"A: \r\nContent-Length: 0\r\n\r\n"
    head = fixed.replace(b"A: ", b"A: " + b"a" * (64 * KIB - len(fixed)))

    assert parse(head, at_once=1000).reusable
    with pytest.raises(InvalidResponse, match="more than 65536 bytes"):
        parse(head.replace(b"A: ", b"A: a"))


@pytest.mark.parametrize(
    "piece", [b"1;" + b"x" * 100 * KIB, b"0\r\nA: " + b"x" * 100 * KIB, b"0\r\n" + b"A: b\r\n" * 20_000]
)
def test_chunk_extensions_and_trailers_are_bounded(piece: bytes) -> None:
    parser = response_parser.ResponseParser()
    parser.feed(CHUNKED)

    with pytest.raises(InvalidResponse, match="trailers"):
        feed_all(parser, piece, 4096)


def test_a_body_is_kept_up_to_64_kib_and_read_to_its_end() -> None:
    response = parse(OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000, at_once=16 * KIB)

    assert (response.status, len(response.body), response.reusable) == (200, 64 * KIB, True)


@pytest.mark.parametrize("piece", [b"4000\r\n" + b"x" * 16 * KIB + b"\r\n", b"1\r\nx\r\n" * 3 * KIB])
@pytest.mark.parametrize("framing", [b"Content-Length: 18446744073709551615", b"Transfer-Encoding: chunked", b"A: b"])
def test_the_status_of_an_endless_body_counts_and_its_connection_is_not_reused(framing: bytes, piece: bytes) -> None:
    parser = response_parser.ResponseParser()
    parser.feed(OK + framing + b"\r\n\r\n")

    response = next(filter(None, (parser.feed(piece) for _ in range(100))))

    assert (response.status, len(response.body), response.reusable) == (200, 64 * KIB, False)


def test_a_bug_in_a_callback_is_not_reported_as_a_malformed_response() -> None:
    class Mistaken(response_parser.ResponseParser):
        def on_body(self, data: bytes) -> None:
            raise ValueError(data)

    with pytest.raises(httptools.HttpParserCallbackError):
        Mistaken().feed(OK + b"Content-Length: 2\r\n\r\nok")


def test_a_parser_leaves_no_reference_cycle() -> None:
    parser = response_parser.ResponseParser()
    left = weakref.ref(parser)
    gc.disable()

    parser.feed(b"HTTP/1.1 103 x\r\n\r\n" + EMPTY)
    del parser

    gc.enable()
    assert left() is None


def test_needed_headers_are_kept_and_the_first_of_each_name_counts() -> None:
    response = parse(b"HTTP/1.1 503 Not now\r\nRETRY-AFTER:  7 \r\nRetry-After: 9\r\nA: b\r\nContent-Length: 0\r\n\r\n")

    assert (response.reason, response.headers) == ("Not now", {"Retry-After": "7"})


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_the_answer_to_connect_ends_with_its_head(framing: bytes) -> None:
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\n" + framing + b"\r\n"
    parser = response_parser.ResponseParser(head_only=True)

    response = parser.feed(head)
    followed = parse(head + b"x", head_only=True)

    assert response is not None
    assert (response.status, followed.status, followed.reusable) == (200, 200, False)


PIECES = st.sampled_from(
    [
        OK,
        EMPTY,
        CHUNKED,
        b"HTTP/1.1 103 x\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b" folded\r\n",
        b"A: b\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b"\x00",
        b"hello",
    ]
)


@settings(max_examples=300)
@given(data=st.lists(PIECES | st.binary(max_size=8), max_size=10).map(b"".join), at_once=st.integers(1, 60))
def test_the_result_does_not_depend_on_how_the_bytes_are_split(data: bytes, at_once: int) -> None:
    assert _outcome(data, at_once) == _outcome(data, 1 << 20)


def _outcome(data: bytes, at_once: int) -> EndpointResponse | str:
    try:
        return parse(data, at_once=at_once)
    except InvalidResponse:
        return "no response"


@pytest.mark.parametrize(
    "data",
    [
        OK + b"A:" + b" " * 60 * KIB + b"\r\n\r\n",
        OK + b"A: " + b" b" * 30 * KIB + b"\r\nno colon\r\n\r\n",
        OK + b"A: b\r\n" + b" \r\n" * 20 * KIB + b"no colon\r\n\r\n",
        OK + b"Connection: " + b"," * 60 * KIB + b"\r\n\r\n",
        OK + b"Transfer-Encoding: " + b"chunked, " * 6 * KIB + b"\r\n\r\n",
        OK + b"Connection: a\r\n" * 4 * KIB + b"\r\n",
        b"\r\n" * 30 * KIB + EMPTY,
    ],
)
@pytest.mark.parametrize("at_once", [1, 1 << 20])
@pytest.mark.timeout(20)
def test_the_worst_head_is_parsed_in_linear_time(data: bytes, at_once: int) -> None:
    _outcome(data, at_once)
