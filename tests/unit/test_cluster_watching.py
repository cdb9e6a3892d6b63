"""A watch against a server that sends exactly these bytes: in one packet or many, closed or half open."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from beacon.boundary import tls
from beacon.cluster import connection, credentials, discovery, failures, watching

CONFIGMAPS = discovery.ServedResource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5"}}}'
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextmanager
def serving(answer: Callable[[socket.socket], None], *, read_s: float = 60.0) -> Iterator[connection.Connection]:
    """Answer one request in the given way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        requests: list[bytes] = []

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                requests.append(accepted.recv(65536))
                answer(accepted)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]

        def load() -> credentials.Access:
            return credentials.Access(server=f"http://127.0.0.1:{port}", context=tls.bare())

        yield connection.Connection(load, connect_s=60, read_s=read_s)
        thread.join(100)


def start(api: connection.Connection, inactive_s: float = 60.0, lasting_s: float = 60.0) -> watching.OpenWatch:
    return watching.start(api, CONFIGMAPS, "", position=1, timeout_s=0, inactive_s=inactive_s, grace_s=lasting_s)


def drain(watch: watching.OpenWatch) -> list[bytes]:
    lines: list[bytes] = []
    while not watch.ended:
        lines += watch.read(0.1)
    return lines


def test_lines_that_come_together_with_the_head_are_not_lost() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(LINE + b"\n") * 300 + END)

    with serving(answer) as api, start(api) as watch:
        assert drain(watch) == [LINE] * 300


def test_bytes_that_come_one_by_one_make_the_same_lines() -> None:
    def answer(peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HEAD + chunk(LINE + b"\n") + chunk(LINE + b"\n") + END:
            peer.sendall(bytes([byte]))

    with serving(answer) as api, start(api) as watch:
        assert drain(watch) == [LINE, LINE]


def test_a_connection_that_closes_without_the_last_chunk_is_broken() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(LINE + b"\n"))

    with serving(answer) as api, start(api) as watch, pytest.raises(failures.Broken):
        drain(watch)


def test_an_answer_that_ends_within_a_line_is_broken() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(LINE[:20]) + END)

    with serving(answer) as api, start(api) as watch, pytest.raises(failures.Broken, match="middle of a line"):
        drain(watch)


def test_an_answer_that_ends_with_its_connection_is_read_to_its_end() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + LINE + b"\n")

    with serving(answer) as api, start(api) as watch:
        assert drain(watch) == [LINE]


def test_a_response_with_connection_close_is_read_to_its_end() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + chunk(LINE + b"\n"))
        peer.recv(1)

    with serving(answer) as api:
        with start(api) as watch:
            lines: list[bytes] = []
            while not lines:
                lines = watch.read(0.1)
        assert lines == [LINE]


def test_a_partial_line_does_not_block_a_read_and_then_counts_as_silence() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + b"ff\r\n" + LINE[:10])
        peer.recv(1)

    with serving(answer) as api, start(api, inactive_s=2.0) as watch:
        assert watch.read(0.1) == []
        assert watch.read(0.1) == []
        with pytest.raises(failures.Silent):
            drain(watch)


@pytest.mark.parametrize("drop", [b"\n", chunk(b"\n"), chunk(b" "), chunk(LINE[:1]), b"1", chunk(b"\n" * 4096)])
@pytest.mark.parametrize("pause_s", [0.02, 0.0])
def test_bytes_without_a_complete_line_count_as_silence_at_any_rate(drop: bytes, pause_s: float) -> None:
    def answer(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            peer.sendall(HEAD if drop.startswith((b"1\r", b"1000")) else HEAD.replace(b"chunked", b"identity"))
            while not over.wait(pause_s):
                peer.sendall(drop)

    over = threading.Event()
    with serving(answer) as api:
        with start(api, inactive_s=0.3) as watch, pytest.raises(failures.Stuck):
            drain(watch)
        over.set()


def test_a_watch_that_was_silent_resumes_at_its_position() -> None:
    silence = threading.Event()

    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(LINE + b"\n"))
        silence.wait(300)
        peer.sendall(chunk(LINE + b"\n") + END)

    with serving(answer) as api, start(api, inactive_s=0.2) as watch:
        assert watch.read(5) == [LINE]
        for _ in range(2):
            with pytest.raises(failures.Silent) as caught:
                drain(watch)
            assert not isinstance(caught.value, failures.Stuck)
        silence.set()

        lines: list[bytes] = []
        while not lines:  # on a busy machine the server may be silent for longer
            with contextlib.suppress(failures.Silent):
                lines = watch.read(5)
        assert lines == [LINE]


def test_half_a_line_after_a_whole_one_is_no_quiet_watch() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + chunk(LINE + b"\n" + LINE[:10]))
        peer.recv(1)

    with serving(answer) as api, start(api, inactive_s=0.2) as watch, pytest.raises(failures.Stuck):
        drain(watch)


@pytest.mark.parametrize("drop", [chunk(LINE + b"\n"), b""], ids=["lines", "silence"])
def test_a_watch_that_outlives_its_time_is_ended_from_this_side(drop: bytes) -> None:
    def answer(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            peer.sendall(HEAD)
            while not over.wait(0.02):
                peer.sendall(drop)

    over = threading.Event()
    with serving(answer) as api:
        with start(api, lasting_s=1.0) as watch:
            lines = drain(watch)
        over.set()

    assert set(lines) == ({LINE} if drop else set())


def test_time_between_reads_does_not_count_as_silence() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD)
        peer.recv(1)

    with serving(answer) as api, start(api, inactive_s=1.0) as watch:
        watch.read(0.05)
        time.sleep(1.2)

        assert watch.read(0.05) == []


def test_a_document_is_no_watch() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with serving(answer) as api, pytest.raises(failures.Broken, match="document"):
        start(api)


def test_a_server_without_a_response_is_unreachable() -> None:
    def answer(peer: socket.socket) -> None:
        peer.recv(1)

    with serving(answer, read_s=0.5) as api, pytest.raises(failures.Unreachable, match="no response in time"):
        start(api)


def test_a_page_that_breaks_off_is_no_page() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"metadata":{}')

    with serving(answer) as api, pytest.raises(failures.Unreachable, match="broke off"):
        api.get("/api/v1/configmaps")


def test_a_redirect_is_not_followed() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    with serving(answer) as api, pytest.raises(failures.ApiRefused) as caught:
        api.get("/api/v1/configmaps")
    assert caught.value.status == 302
