"""Endpoints and proxies that repeat a request: no secret of it is stored."""

import base64
import itertools
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from beacon.notifier.transport import answer, blocking_sender, route

TOKEN = "t0ken-of-seventeen"
HEADERS = {"X-Key": "h3ad-of-keys", "X-Pair": "Basic " + base64.b64encode(b"al:wonderland").decode()}
QUERY = "?key=query%2Fsecret&n4ked-secret"
PROXY_USER = "proxy-us%40er:passw0rd%2F!"
SECRETS = [
    TOKEN,
    "h3ad-of-keys",
    base64.b64encode(b"al:wonderland").decode(),
    "query%2Fsecret",
    "n4ked-secret",
    base64.b64encode(b"proxy-us@er:passw0rd/!").decode(),
]
WHERE = ["body", "reason", "location", "truncated", "status line", "broken header"]


class Echo:
    """Answers each request, including CONNECT, with its own text in every part of the answer."""

    def __init__(self) -> None:
        self.where = "body"
        self.before = 0
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line:
                data = b""
                while b"\r\n\r\n" not in data and (got := line.recv(65536)):
                    data += got
                self.heard += data
                line.sendall(self._answer(data))

    def _answer(self, data: bytes) -> bytes:
        flat = b"x" * self.before + data.partition(b"\r\n\r\n")[0].replace(b"\r\n", b" ").replace(b": ", b" ")
        match self.where:
            case "reason":
                return b"HTTP/1.1 407 " + flat + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            case "location":
                return b"HTTP/1.1 302 F\r\nLocation: " + flat + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            case "truncated":
                return b"HTTP/1.1 500 Sorry\r\nContent-Length: 99999\r\n\r\n" + flat
            case "status line":
                return b"HTTP/1.1 " + flat + b"\r\n\r\n"
            case "broken header":
                return b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n" + flat + b"\r\n\r\n"
            case _:
                return b"HTTP/1.1 407 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(flat) + flat


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], answer.EndpointAnswer]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def send(url: str, proxy: str) -> answer.EndpointAnswer:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("https_proxy", proxy)
        target = route.Target(url=url, method="POST", agent="beacon/test", width=2, headers=HEADERS)
        line = blocking_sender.BlockingSender(target, token=lambda: TOKEN)
        got = line.send(b"{}", event_id="event-1", timeout_s=10.0)
        line.close()
        return got

    return send


def parts_in(text: str) -> list[str]:
    """Return the parts of secrets in a text; six consecutive characters count."""
    parts = [secret[at : at + 6] for secret in SECRETS for at in range(len(secret) - 5)]
    return [part for part in parts if part in text]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("way", ["direct", "proxy", "tunnel"])
def test_no_part_of_an_echoed_secret_is_stored(
    echo: Echo, ask: Callable[[str, str], answer.EndpointAnswer], where: str, way: str
) -> None:
    echo.where = where
    proxy = "" if way == "direct" else f"http://{PROXY_USER}@127.0.0.1:{echo.port}"
    host = f"127.0.0.1:{echo.port}" if way == "direct" else "far.example"

    got = ask(f"{'https' if way == 'tunnel' else 'http'}://{host}/hook{QUERY}", proxy)

    sent = echo.heard.decode()
    assert [secret for secret in SECRETS if secret in sent] == {
        "direct": SECRETS[:-1],
        "proxy": SECRETS,
        "tunnel": SECRETS[-1:],
    }[way]
    assert got.error
    assert parts_in(got.error) == []
    assert parts_in(repr(got)) == []
    assert parts_in(repr(route.Target(url=f"http://h/{QUERY}", method="POST", agent="a", width=1))) == []


def test_a_text_is_never_cut_inside_a_secret(echo: Echo, ask: Callable[[str, str], answer.EndpointAnswer]) -> None:
    kept = []
    for where, before in itertools.product(["body", "reason"], range(300, 512, 13)):
        echo.where, echo.before = where, before
        kept.append(ask(f"http://127.0.0.1:{echo.port}/{QUERY}", "").error)

    assert [parts_in(error) for error in kept] == [[]] * len(kept)
    assert {len(error.encode()) for error in kept} >= {answer.LONGEST_ERROR}
