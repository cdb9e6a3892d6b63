"""A connected stream that never waits: a plain socket, TLS, or TLS within TLS (through an https proxy).

`send` and `recv` raise one of `WOULD_BLOCK` instead of waiting. This module knows nothing about HTTP.
"""

import contextlib
import select
import socket
import ssl
from typing import Protocol

from urllib3.util import ssltransport

from beacon.boundary import idle_socket

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_RECORDS = 16 * 1024


class NonBlockingStream(Protocol):
    """What an exchange needs of a connection."""

    def fileno(self) -> int:
        """Return the descriptor that shows when the stream is ready."""

    def send(self, data: memoryview) -> int:
        """Send some bytes. Return their number."""

    def recv(self, size: int) -> bytes:
        """Return received bytes, b"" at the end of the stream."""

    def flush(self) -> bool:
        """Return True if nothing that `send` accepted waits in this process."""

    def has_pending(self) -> bool:
        """Return True if received bytes wait in this process, where no descriptor shows them."""

    def is_silent(self) -> bool:
        """Return True if the stream is open and has no bytes for the reader."""

    def close(self) -> None:
        """Close the socket."""


def of(connected: idle_socket.Stream) -> NonBlockingStream:
    """Return the stream of a connected socket, which no longer blocks."""
    connected.settimeout(0)
    return _Nested(connected) if isinstance(connected, ssltransport.SSLTransport) else _Socket(connected)


class _Socket:
    """A plain socket, or one with TLS."""

    __slots__ = ("_is_tls", "_poller", "_sock", "recv", "send")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self.send, self.recv = sock.send, sock.recv

    def fileno(self) -> int:
        return self._sock.fileno()

    def flush(self) -> bool:
        return True

    def has_pending(self) -> bool:
        return self._is_tls and idle_socket.has_pending(self._sock)

    def is_silent(self) -> bool:
        if not self._is_tls:
            return not self._poller.poll(0)  # a third of the price of an unsuccessful recv, which raises
        return idle_socket.is_silent(self._sock, self._sock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.close()


class _Nested:
    """TLS within TLS. urllib3's own sending and receiving would wait, or lose bytes."""

    def __init__(self, transport: ssltransport.SSLTransport) -> None:
        self._transport = transport
        self._outer = transport.socket
        self._unsent = b""

    def fileno(self) -> int:
        return self._outer.fileno()

    def send(self, data: memoryview) -> int:
        if not self.flush():
            raise BlockingIOError
        sent = self._transport.sslobj.write(data)
        self._unsent = self._transport.outgoing.read()
        self.flush()
        return sent

    def flush(self) -> bool:
        while self._unsent:
            try:
                self._unsent = self._unsent[self._outer.send(self._unsent) :]
            except WOULD_BLOCK:
                return False
        return True

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._transport.sslobj.read(size)
            except ssl.SSLWantReadError:
                records = self._outer.recv(_RECORDS)  # raises one of WOULD_BLOCK if there are none
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""
            if records:
                self._transport.incoming.write(records)
            else:
                self._transport.incoming.write_eof()

    def has_pending(self) -> bool:
        return idle_socket.has_pending(self._transport)

    def is_silent(self) -> bool:
        return not self._unsent and idle_socket.is_silent(self._transport, self._outer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._transport.close()
