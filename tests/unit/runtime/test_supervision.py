"""Requests to supervisord: limited in time, with a clear error. Its replies are tested in tests/system."""

import contextlib
import re
import socket
import tempfile
import threading
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
    """Answer one request with these bytes, and read it to its end before closing; None: never answer."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(300)
        if answer is not None:
            asked = b""
            while b"</methodCall>" not in asked and (piece := connection.recv(65536)):
                asked += piece
            with contextlib.suppress(OSError):  # the client has given up
                connection.sendall(answer)
        else:
            while connection.recv(65536):
                pass
        connection.close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_missing_supervisord_is_an_error(path: Path) -> None:
    with pytest.raises(errors.TransientError, match=r"supervisord does not answer: .*No such file"):
        supervision.programs(path)


def test_a_supervisord_that_hangs_is_not_waited_for(path: Path) -> None:
    thread = answering(path, None)

    with pytest.raises(errors.TransientError, match="timed out"):
        supervision.programs(path)

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
def test_a_malformed_response_is_an_error(path: Path, answer: bytes, said: str) -> None:
    why = "timed out"
    while "timed out" in why:  # on a busy machine the answer may come too late
        thread = answering(path, answer)
        with pytest.raises(errors.TransientError) as caught:
            supervision.programs(path)
        why = str(caught.value)
        thread.join()
        path.unlink()

    assert re.search(said, why)


def test_its_socket_is_beside_the_private_directory() -> None:
    assert supervision.socket_of(Path("/run/x/beacon")) == Path("/run/x/supervisor.sock")
