"""Bytes that an API server sends beyond an answer cost the connection, and are never taken for the next answer."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.boundary import tls as contexts
from beacon.cluster import connection, credentials
from beacon.dev.api_server import tls

SURPLUS = b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"foreign"'


class Server:
    """Answers each request with its number; to the first one it sends a whole answer more."""

    def __init__(self, authority: tls.ApiAuthority | None) -> None:
        self.connections = 0
        self._authority = authority
        self._requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted:
            peer = self._authority.context().wrap_socket(accepted, server_side=True) if self._authority else accepted
            with peer:
                while peer.recv(65536):
                    self._requests += 1
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % self._requests
                    peer.sendall(answer + SURPLUS if self._requests == 1 else answer)


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, connection.Connection]]:
    authority = tls.ApiAuthority("127.0.0.1") if request.param == "TLS" else None
    made = Server(authority)
    context = contexts.bare(verify=False)
    scheme = "https" if authority else "http"
    access = credentials.Access(server=f"{scheme}://127.0.0.1:{made.port}", context=context)
    yield made, connection.Connection(lambda: access)
    made.close()


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_surplus_of_one_answer_is_not_the_next_answer(server: tuple[Server, connection.Connection]) -> None:
    served, api = server

    answers = [api.get("/api") for _ in range(3)]

    assert answers == [b"1", b"2", b"3"]
    assert served.connections == 2  # the surplus cost the first connection; the second one was used again
