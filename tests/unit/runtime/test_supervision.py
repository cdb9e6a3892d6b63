"""Asking supervisord: bounded in time, and a sentence when there is no answer. What it answers: tests/system."""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import errors
from beacon.runtime import supervision


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name) / "supervisor.sock"


def answering(path: Path, answer: bytes | None) -> threading.Thread:
    """Answer one request with these bytes; None: never."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        if answer is not None:
            connection.sendall(answer)
        else:
            connection.settimeout(10)
            while connection.recv(65536):
                pass
        connection.close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_supervisord_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(errors.TransientError, match=r"supervisord does not answer: .*No such file"):
        supervision.programs(path)


def test_a_supervisord_that_hangs_is_not_waited_for(path: Path) -> None:
    thread = answering(path, None)
    started = time.monotonic()

    with pytest.raises(errors.TransientError, match="timed out"):
        supervision.programs(path)

    assert time.monotonic() - started < 60
    thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "supervisord does not answer"),
        (b"nonsense\r\n\r\n", "supervisord does not answer"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "supervisord does not answer: status 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "can't be read|Broken pipe|reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<", "supervisord does not answer"),
    ],
)
def test_an_answer_that_makes_no_sense_is_none(path: Path, answer: bytes, said: str) -> None:
    thread = answering(path, answer)

    with pytest.raises(errors.TransientError, match=said):
        supervision.programs(path)

    thread.join()


def test_its_socket_lies_beside_the_private_directory() -> None:
    assert supervision.socket_of(Path("/run/x/beacon")) == Path("/run/x/supervisor.sock")
