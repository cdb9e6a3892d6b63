"""Writes to a reader that may have stopped."""

import fcntl
import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.runtime import line_writer

PIPE_BYTES = 4 * 4096


def report(count: int) -> bytes:
    return f"{count} dropped\n".encode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_lines_that_a_full_pipe_does_not_take_are_dropped_counted_and_reported(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    heard: list[int] = []
    writer = line_writer.LineWriter(fd, report=report, patience_s=0, on_drop=heard.append)
    line = b"x" * 999 + b"\n"

    for _ in range(30):
        writer.write(line)
    first = os.read(reader, 65536)
    writer.write(b"later\n")
    writer.write(b"last\n")

    written = len(first) // 1000
    assert 10 < written < 20
    assert first == line * written
    assert os.read(reader, 65536) == b"%d dropped\nlater\nlast\n" % (30 - written)
    assert writer.dropped == sum(heard) == 30 - written


def test_of_many_lines_at_once_only_whole_ones_are_written(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=0)

    writer.write(b"".join(b"%04d%s\n" % (number, b"x" * 995) for number in range(30)))

    got = os.read(reader, 65536)
    assert [line[:4] for line in got.splitlines()] == [b"%04d" % number for number in range(30 - writer.dropped)]
    assert len(got) == 1000 * (30 - writer.dropped)
    assert writer.dropped >= 10


def test_text_without_a_line_feed_is_written_unchanged(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=0)

    writer.write(b"one\ntw")
    writer.write(b"o\n")

    assert os.read(reader, 100) == b"one\ntwo\n"


@pytest.mark.parametrize("size", [4096, 4097, 100_000])
def test_a_line_longer_than_a_pipe_takes_is_never_cut(size: int, pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=0)
    line = b"x" * (size - 1) + b"\n"

    writer.write(line)
    writer.write(b"meanwhile\n")
    got = b""
    while not got.endswith(b"last\n"):
        got += os.read(reader, 65536)
        writer.write(b"last\n")

    assert got.startswith(line)
    assert set(got[size:].decode().split("\n")) <= {"last", "meanwhile", ""} | {f"{n} dropped" for n in range(99)}


def test_a_reader_that_is_gone_and_a_closed_descriptor_stop_nothing() -> None:
    reader, fd = os.pipe()
    writer = line_writer.LineWriter(fd, report=report, patience_s=0)
    os.close(reader)

    writer.write(b"one\n")
    os.close(fd)
    writer.write(b"two\n")

    assert writer.dropped == 2


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_is_not_read_does_not_block_and_resumes_when_it_is_read(kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        writer = line_writer.LineWriter(ours.fileno(), report=report, patience_s=0)
        while not writer.dropped:
            writer.write(b"x" * 999 + b"\n")
        theirs.settimeout(10)
        got = b""
        while b"dropped\nlater\n" not in got:
            got += theirs.recv(65536)
            writer.write(b"later\n")

    assert all(len(line) == 999 for line in got.partition(b"1 dropped")[0].splitlines())


def test_a_terminal_that_is_not_read_does_not_block() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    writer = line_writer.LineWriter(theirs, report=report, patience_s=0)

    done = threading.Event()

    def fill() -> None:
        while not writer.dropped:
            writer.write(b"x" * 99 + b"\n")
        done.set()

    threading.Thread(target=fill, daemon=True).start()
    assert done.wait(30)
    os.close(ours)
    os.close(theirs)


def test_a_full_volume_drops_lines_and_stops_nothing(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = line_writer.LineWriter(full.fileno(), report=report, patience_s=0)
        writer.write(b"one\ntwo\n")

    assert writer.dropped == 2


def test_lines_of_many_threads_stay_whole_and_each_is_counted(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=0)

    def talk() -> None:
        for _ in range(100):
            writer.write(b"x" * 299 + b"\n")

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    got = os.read(reader, 65536)
    assert {len(line) for line in got.splitlines()} == {299}
    assert got.count(b"\n") + writer.dropped == 800


def test_a_reader_that_is_slower_than_a_burst_misses_nothing(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=30)
    got: list[bytes] = []

    def read() -> None:
        while not got or not got[-1].endswith(b"end\n"):
            got.append(os.read(reader, 1000))

    reading = threading.Thread(target=read)
    reading.start()
    for _ in range(500):
        writer.write(b"x" * 299 + b"\n")
    writer.write(b"end\n")
    reading.join()

    assert b"".join(got).count(b"\n") == 501
    assert writer.dropped == 0


def test_a_reader_that_has_stopped_is_waited_for_once(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=0.2)
    waits = 0

    for _ in range(300):
        began = time.monotonic()
        writer.write(b"x" * 999 + b"\n")
        waits += time.monotonic() - began > 0.1  # most of the time that it may wait

    assert writer.dropped > 250
    assert waits < 300 / 4


def test_a_reader_that_drips_takes_a_bounded_share_of_the_time(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = line_writer.LineWriter(fd, report=report, patience_s=0.1)
    waits = 0
    for _ in range(200):
        began = time.monotonic()
        writer.write(b"x" * 999 + b"\n")
        waits += time.monotonic() - began > 0.05  # most of the time that it may wait
        if writer._rest or writer.dropped:
            os.read(reader, 4096)  # room for some lines, each time that one was dropped

    assert writer.dropped
    assert waits < 200 / 4
