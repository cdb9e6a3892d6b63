"""An idle socket is usable while no bytes have arrived on it, neither in the kernel nor in TLS."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest

from beacon.boundary import idle_socket
from tests.unit.notifier import pairs


@pytest.fixture
def plain() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = pairs.plain()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def secure() -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    ours, theirs = pairs.encrypted()
    with ours, theirs:
        yield ours, theirs


def is_silent(sock: socket.socket) -> bool:
    with _raw(sock) as raw:
        return idle_socket.is_silent(sock, raw)


def _raw(sock: socket.socket) -> socket.socket:
    return socket.socket(sock.family, sock.type, sock.proto, fileno=socket.dup(sock.fileno()))


def test_a_plain_socket_is_usable_until_something_comes(plain: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = plain
    assert is_silent(ours)

    theirs.sendall(b"x")
    pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)
    assert ours.recv(10) == b"x"


def test_a_closed_socket_is_not_usable(plain: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = plain

    theirs.shutdown(socket.SHUT_WR)
    pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_session_tickets_leave_a_connection_usable(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    pairs.wait_until_arrived(theirs)
    with _raw(ours) as raw:
        assert raw.recv(1, socket.MSG_PEEK)  # they are there

    assert is_silent(ours)
    assert is_silent(ours)

    theirs.sendall(b"answer")
    assert ours.recv(10) == b"answer"


def test_data_after_session_tickets_is_detected(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    theirs.sendall(b"answer")
    pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_data_that_tls_has_buffered_is_detected(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    theirs.sendall(b"two answers")
    assert ours.recv(3) == b"two"

    assert not is_silent(ours)


@pytest.mark.parametrize("piece", [b"\x17", b"\x17\x03\x03\x00\x40", b"\x17\x03\x03\x00\x40half of it"])
def test_an_incomplete_record_is_detected(piece: bytes, secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    with _raw(theirs) as raw:
        raw.sendall(piece)
        pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_bytes_that_are_not_a_record_are_detected(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    with _raw(theirs) as raw:
        raw.sendall(b"\x17\x03\x03\x00\x05hello")
        pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_a_close_notify_is_detected(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    theirs.settimeout(0)
    with contextlib.suppress(ssl.SSLWantReadError):
        theirs.unwrap()
    pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)
