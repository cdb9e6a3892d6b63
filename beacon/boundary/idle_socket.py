"""Whether an idle socket may carry another request: the other side has neither closed it nor sent anything.

Bytes that nothing asked for would be taken for the next response. Over TLS they may lie in two places, in the socket
and in OpenSSL's buffer, and not all that lies in the socket is for the reader. Nothing here knows HTTP.
"""

import socket
import ssl
from typing import Any

from urllib3.util import ssltransport

_PEEKED = 16 * 1024


def is_silent(sock: Any, raw: socket.socket) -> bool:
    """Return True if a socket is open and nothing has come on it; `raw` is a second descriptor of it, without TLS.

    TLS sends records of its own, such as the tickets for a later session: only reading them shows what they are. It
    must not begin with a record of which the rest is still to come: that could be an answer, and would go unnoticed.
    """
    if has_pending(sock):
        return False
    seen = _peek(raw)
    if seen is None or not isinstance(sock, ssl.SSLSocket) or not _are_whole_records(seen):
        return seen is None
    sock.settimeout(0)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        return _peek(raw) is None
    except OSError:
        return False
    finally:
        sock.settimeout(None)
    return False


def has_pending(sock: Any) -> bool:
    """Return True if bytes that came are held by TLS, or by one of two layers of it (through an https proxy)."""
    if isinstance(sock, ssl.SSLSocket):
        return sock.pending() > 0
    if isinstance(sock, ssltransport.SSLTransport):
        return sock.incoming.pending > 0 or sock.sslobj.pending() > 0 or has_pending(sock.socket)
    return False


def _peek(raw: socket.socket) -> bytes | None:
    """Return the bytes that can be read, b"" if the connection is closed, None if there are none."""
    try:
        return raw.recv(_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _are_whole_records(data: bytes) -> bool:
    """Return True if the bytes are TLS records (RFC 8446, section 5.1) without a piece of another one."""
    position = 0
    while position + 5 <= len(data):
        position += 5 + int.from_bytes(data[position + 3 : position + 5])
    return position == len(data) > 0
