"""An idle socket is usable while nothing has come on it, whoever holds the bytes: the kernel or TLS."""

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


def test_tickets_for_a_later_session_leave_a_connection_usable(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    pairs.wait_until_arrived(theirs)
    with _raw(ours) as raw:
        assert raw.recv(1, socket.MSG_PEEK)  # they are there

    assert is_silent(ours)
    assert is_silent(ours)

    theirs.sendall(b"answer")
    assert ours.recv(10) == b"answer"


def test_data_behind_tickets_is_noticed(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    theirs.sendall(b"answer")
    pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_data_that_tls_has_read_already_is_noticed(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    theirs.sendall(b"two answers")
    assert ours.recv(3) == b"two"

    assert not is_silent(ours)


@pytest.mark.parametrize("piece", [b"\x17", b"\x17\x03\x03\x00\x40", b"\x17\x03\x03\x00\x40half of it"])
def test_a_piece_of_a_record_is_noticed(piece: bytes, secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    with _raw(theirs) as raw:
        raw.sendall(piece)
        pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_what_is_no_record_is_noticed(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    with _raw(theirs) as raw:
        raw.sendall(b"\x17\x03\x03\x00\x05hello")
        pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)


def test_a_notice_of_closing_is_noticed(secure: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    ours, theirs = secure
    theirs.settimeout(0)
    with contextlib.suppress(ssl.SSLWantReadError):
        theirs.unwrap()
    pairs.wait_until_arrived(theirs)

    assert not is_silent(ours)
