"""The tunnel through an HTTP proxy (RFC 9110, section 9.3.6), opened on a connected socket that blocks.

Used by `connection` in a connector's thread, where the socket is shut down at the deadline.
"""

import socket
from collections.abc import Mapping

from beacon.notifier.transport import response_parser

_AT_ONCE = 16 * 1024
PROXY_AUTHENTICATION_REQUIRED = 407


class ProxyAuthenticationError(OSError):
    """The proxy refuses the credentials, or demands some: a complete answer, unlike other failures to connect."""


def open_tunnel(stream: socket.socket, host: str, port: int, headers: Mapping[str, str]) -> None:
    """Open a tunnel to a host through a proxy.

    Raises:
        ProxyAuthenticationError: the proxy answers 407.
        OSError: the proxy refuses, or its answer is invalid.
    """
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    lines = [f"CONNECT {address} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if "host" not in {name.lower() for name in headers}:
        lines.append(f"Host: {address}")
    stream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    response = _receive_head(stream)
    if response.status == PROXY_AUTHENTICATION_REQUIRED:
        raise ProxyAuthenticationError(f"Tunnel connection failed: {response.status} {response.reason}")
    if not 200 <= response.status < 300:
        raise OSError(f"Tunnel connection failed: {response.status} {response.reason}")
    if not response.reusable:
        raise OSError("Tunnel connection failed: the proxy sent more than its answer to CONNECT")


def _receive_head(stream: socket.socket) -> response_parser.EndpointResponse:
    parser = response_parser.ResponseParser(head_only=True)
    try:
        while True:
            piece = stream.recv(_AT_ONCE)
            response = parser.feed(piece) if piece else parser.end_of_stream()
            if response is not None:
                return response
    except response_parser.InvalidResponse as error:
        raise OSError(f"Tunnel connection failed: {error}") from None
