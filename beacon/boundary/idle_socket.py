"""Checks whether an idle socket may carry another request: the peer has neither closed it nor sent anything.

Unexpected bytes would be parsed as the next response. With TLS they may be in the socket or in OpenSSL's buffer, and
some bytes in the socket belong to TLS itself. This module knows nothing about HTTP.
"""

import socket
import ssl

from urllib3.util import ssltransport

Stream = socket.socket | ssltransport.SSLTransport  # the latter: TLS through an https proxy

_PEEKED = 16 * 1024
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)  # combining flags is slow


def is_silent(sock: Stream, raw: socket.socket) -> bool:
    """Return True if a socket is open and has no data for the reader; `raw` is the socket below TLS, or the same one.

    TLS sends records of its own, such as session tickets; only reading a record shows its type. An incomplete record is
    not read, because it could be part of an answer that would go undetected.
    """
    if has_pending(sock):
        return False
    seen = _peek(raw)
    if seen is None or not isinstance(sock, ssl.SSLSocket) or not _are_whole_records(seen):
        return seen is None
    patience_s = sock.gettimeout()
    sock.settimeout(0)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        return _peek(raw) is None
    except OSError:
        return False
    finally:
        sock.settimeout(patience_s)
    return False


def has_pending(sock: Stream) -> bool:
    """Return True if TLS has buffered bytes, in either of its two layers (through an https proxy)."""
    if isinstance(sock, ssl.SSLSocket):
        return sock.pending() > 0
    if isinstance(sock, ssltransport.SSLTransport):
        return sock.incoming.pending > 0 or sock.sslobj.pending() > 0 or has_pending(sock.socket)
    return False


def _peek(raw: socket.socket) -> bytes | None:
    """Return the readable bytes, b"" if the connection is closed, None if there are none."""
    try:
        # Not `raw.recv`: that of an SSLSocket would decrypt.
        return socket.socket.recv(raw, _PEEKED, _PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _are_whole_records(data: bytes) -> bool:
    """Return True if the bytes are complete TLS records (RFC 8446, section 5.1)."""
    position = 0
    while position + 5 <= len(data):
        position += 5 + int.from_bytes(data[position + 3 : position + 5])
    return position == len(data) > 0
