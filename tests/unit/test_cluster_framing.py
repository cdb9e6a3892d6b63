"""The lines do not depend on how the network splits a body, and a truncated end is detected."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.cluster import failures, framing

lines_ = st.lists(st.binary(min_size=1, max_size=40).filter(lambda line: b"\n" not in line), max_size=20)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(at)]


def chunked(parts: list[bytes], *, end: bool = True) -> bytes:
    body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return body + (b"0\r\nTrailer: x\r\n\r\n" if end else b"")


@given(lines_, st.lists(st.integers(0, 900), max_size=30), st.lists(st.integers(0, 900), max_size=30))
def test_lines_survive_any_chunking_and_any_cutting(
    lines: list[bytes], chunk_cuts: list[int], wire_cuts: list[int]
) -> None:
    body = b"".join(line + b"\n" for line in lines)
    chunks, cutter = framing.Chunks(), framing.Lines()

    found = [
        line
        for piece in cut(chunked(cut(body, chunk_cuts)), wire_cuts)
        if piece
        for line in cutter.feed(chunks.feed(piece))
    ]

    assert found == lines
    assert chunks.complete
    assert not cutter.partial


@given(lines_.filter(bool), st.integers(1, 400))
def test_an_answer_that_is_cut_off_is_never_complete(lines: list[bytes], missing: int) -> None:
    body = chunked([line + b"\n" for line in lines])
    chunks = framing.Chunks()

    chunks.feed(body[: max(0, len(body) - missing)])

    assert not chunks.complete


def test_a_line_without_its_end_is_partial() -> None:
    cutter = framing.Lines()

    assert cutter.feed(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert cutter.partial
    assert cutter.feed(b":2}\n") == [b'{"b":2}']
    assert not cutter.partial


@pytest.mark.parametrize("data", [b"zz\r\n", b"\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"+1\r\n", b"x" * 70_000])
def test_a_body_that_is_not_valid_chunked_coding_is_refused(data: bytes) -> None:
    with pytest.raises(failures.Broken):
        framing.Chunks().feed(data)


def test_bytes_after_the_last_chunk_are_not_part_of_the_body() -> None:
    chunks = framing.Chunks()

    assert chunks.feed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") == b"a"
    assert chunks.complete
