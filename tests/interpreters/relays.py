"""Proxies on real sockets: SOCKS5 (RFC 1928, with the user and password of RFC 1929) and HTTP CONNECT."""

import base64
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

_REFUSED = b"\x05\xff"


class Relay:
    """Accepts connections; subclasses implement the protocol. `targets` lists the requested targets."""

    def __init__(self, *, username: str = "", password: str = "", context: ssl.SSLContext | None = None) -> None:
        self.targets: list[tuple[str, int]] = []
        self.seen: list[bytes] = []
        self._credentials = (username, password)
        self._context = context
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self, client: socket.socket) -> None:
        """Serve one client until it disconnects."""
        raise NotImplementedError

    def connect(self, client: socket.socket, host: str, port: int) -> None:
        """Connect a client to its target; names below .example resolve to this host."""
        self.targets.append((host, port))
        made = socket.create_connection(("127.0.0.1" if host.endswith(".example") else host, port))
        self._sockets.append(made)
        self.admit(client)
        threading.Thread(target=_copy, args=(made, client), daemon=True).start()
        _copy(client, made)

    def admit(self, client: socket.socket) -> None:
        """Send the client the response for a connected target."""
        raise NotImplementedError

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, struct.error), client:
            if self._context is None:
                self.serve(client)
                return
            with self._context.wrap_socket(client, server_side=True) as wrapped:
                self.serve(wrapped)


class Socks5(Relay):
    """A SOCKS5 proxy; with a user name it requires authentication."""

    def serve(self, client: socket.socket) -> None:
        _, count = _exactly(client, 2)
        methods = _exactly(client, count)
        wanted = 2 if self._credentials[0] else 0
        if wanted not in methods:
            client.sendall(_REFUSED)
            return
        client.sendall(bytes([5, wanted]))
        if wanted and not self._authenticate(client):
            return
        _, command, _, kind = _exactly(client, 4)
        assert command == 1
        self.connect(client, _address(client, kind), *struct.unpack(">H", _exactly(client, 2)))

    def admit(self, client: socket.socket) -> None:
        client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")

    def _authenticate(self, client: socket.socket) -> bool:
        _exactly(client, 1)
        sent = tuple(_exactly(client, _exactly(client, 1)[0]).decode() for _ in range(2))
        client.sendall(b"\x01\x00" if sent == self._credentials else b"\x01\x01")
        return sent == self._credentials


class Connect(Relay):
    """An HTTP CONNECT proxy; `seen` lists the heads of its requests."""

    def serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return
            head += piece
        self.seen.append(head)
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        self.connect(client, host.strip("[]"), int(port))

    def admit(self, client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")


class Guarded(Connect):
    """An HTTP proxy that demands a user and a password, which may change; it opens tunnels and forwards."""

    refusals = 0

    def use(self, password: str) -> None:
        """Demand another password from now on; open connections end."""
        self._credentials = (self._credentials[0], password)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(self, client: socket.socket) -> None:
        head = client.recv(65536, socket.MSG_PEEK)
        while b"\r\n\r\n" not in head and head:
            head = client.recv(65536, socket.MSG_PEEK)
        if not head:
            return
        given = base64.b64encode(":".join(self._credentials).encode())
        if b"Proxy-Authorization: Basic " + given not in head:
            self.refusals += 1
            client.recv(65536)
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if head.startswith(b"CONNECT "):
            super().serve(client)
            return
        host, _, port = head.split(b" ")[1].split(b"/")[2].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as made:
            self._sockets.append(made)
            threading.Thread(target=_copy, args=(made, client), daemon=True).start()
            _copy(client, made)


class Scripted(Relay):
    """A proxy whose behavior is a function."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self._behave = behave
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        self._behave(client)


def _address(client: socket.socket, kind: int) -> str:
    if kind == 1:
        return socket.inet_ntop(socket.AF_INET, _exactly(client, 4))
    if kind == 4:
        return socket.inet_ntop(socket.AF_INET6, _exactly(client, 16))
    return _exactly(client, _exactly(client, 1)[0]).decode()


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            raise OSError("the client has gone")
        data += piece
    return data


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
