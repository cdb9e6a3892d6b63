"""Pairs of connected sockets, with or without TLS."""

import fcntl
import socket
import ssl
import struct
import termios
import threading
import time

import trustme


def plain() -> tuple[socket.socket, socket.socket]:
    """Connect two sockets, ours and theirs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours: socket.socket = socket.create_connection(server.getsockname(), timeout=100)
        theirs, _ = server.accept()
    ours.settimeout(None)
    return ours, theirs


def encrypted() -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Connect two sockets under TLS, ours as the client."""
    ours, theirs = plain()
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    wrapped: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: wrapped.append(server.wrap_socket(theirs, server_side=True)))
    thread.start()
    secure = client.wrap_socket(ours, server_hostname="127.0.0.1")
    thread.join()
    return secure, wrapped[0]


def wait_until_arrived(sock: socket.socket) -> None:
    """Wait until the sent bytes have arrived in the peer's socket."""
    until = time.monotonic() + 100
    while struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]:
        assert time.monotonic() < until
        time.sleep(0.001)
