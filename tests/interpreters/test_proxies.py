"""The endpoint uses the proxy of the environment, the API server only that of the kubeconfig; both support SOCKS."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from beacon import errors
from tests.interpreters import authorities, doors, relays
from tests.unit.notifier import endpoints

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
HANG_S = 300.0  # a timeout for operations that must end, not an expected duration


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def plain() -> Iterator[endpoints.Endpoint]:
    made = endpoints.Endpoint(lambda *_: endpoints.Reply(200, b"{}"))
    yield made
    made.down()


@pytest.fixture
def authority(tmp_path: Path) -> authorities.Authority:
    return authorities.Authority(tmp_path, "authority")


@pytest.fixture
def secure(authority: authorities.Authority) -> Iterator[endpoints.Endpoint]:
    made = endpoints.Endpoint(lambda *_: endpoints.Reply(200, b"{}"), context=authority.serving("server"))
    yield made
    made.down()


def named(url: str, host: str) -> str:
    return url.replace("127.0.0.1", host)


def redirecting(status: int, target: str) -> relays.Scripted:
    """Return a proxy that responds to CONNECT with a redirect to `target`."""
    head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    return relays.Scripted(lambda client: client.sendall(head.encode()))


def test_a_redirect_by_a_proxy_is_followed_at_neither_door(
    authority: authorities.Authority,
    secure: endpoints.Endpoint,
    plain: endpoints.Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for status in (301, 302, 307, 308):
        with redirecting(status, plain.url) as proxy:
            url = f"http://127.0.0.1:{proxy.port}"
            monkeypatch.setenv("HTTPS_PROXY", url)
            cluster = {"certificate-authority": str(authority.file), "proxy-url": url}

            assert str(status) in doors.ask_endpoint(secure.url, ca=authority.file)
            assert str(status) in doors.ask_api(tmp_path, f"https://localhost:{secure.port}", cluster)
    assert plain.received == secure.received == []


# --- the endpoint


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(("scheme", "asked"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
def test_the_endpoint_is_reached_by_socks(
    variable: str, scheme: str, asked: str, secure: endpoints.Endpoint, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch, relays.Socks5(username="me", password="p@ss/ü") as proxy:
        patch.setenv(variable, f"{scheme}://me:p%40ss%2F%C3%BC@127.0.0.1:{proxy.port}")

        assert doors.ask_endpoint(named(secure.url, "localhost"), ca=tmp_path / "authority.pem") == ""

    assert proxy.targets[-1] == (asked, secure.port)


def test_the_socks_proxy_resolves_the_endpoints_name(
    plain: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relays.Socks5() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"socks5h://localhost:{proxy.port}")

        assert doors.ask_endpoint(named(plain.url, "far.example")) == ""
        with doors.endpoint_door(named(plain.url, "far.example")) as sender:
            assert [sender.send(b"{}", event_id="1", timeout_s=5).status for _ in range(3)] == [200, 200, 200]

    assert proxy.targets == [("far.example", plain.port)] * 2
    assert plain.received[0].path == "/hook"


def test_no_proxy_is_honored_for_socks(plain: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with relays.Socks5() as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")

        assert doors.ask_endpoint(plain.url) == ""

    assert proxy.targets == []


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        (relays.Socks5(username="me", password="other"), "network: the proxy socks5://127.0.0.1"),
        (relays.Scripted(lambda client: client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "network: the proxy"),
        (relays.Scripted(lambda client: client.sendall(b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0")), "network: the proxy"),
        (relays.Scripted(lambda client: client.close()), "network: the proxy"),
    ],
)
def test_the_error_of_a_socks_proxy_is_reported_without_the_password(
    proxy: relays.Relay, expected: str, plain: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://me:hunter2@127.0.0.1:{proxy.port}")

        why = doors.ask_endpoint(plain.url)

    assert why.startswith(expected)
    assert "hunter2" not in why
    assert plain.received == []


def drip(client: socket.socket) -> None:
    """Answer the greeting, then send a reply whose host name of 255 bytes takes 25 s."""
    client.sendall(b"\x05\x00\x05\x00\x00\x03\xff")
    while True:
        time.sleep(0.1)
        client.sendall(b"x")


def hang(_client: socket.socket) -> None:
    time.sleep(HANG_S)


@pytest.mark.parametrize("behave", [drip, hang])
def test_the_total_deadline_holds_during_the_handshake(
    behave: Callable[[socket.socket], None], plain: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relays.Scripted(behave) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")

        assert doors.ask_endpoint(plain.url, timeout_s=0.5).startswith("timeout: ")  # by the watchdog or the timer


def test_an_unusable_proxy_is_refused_when_the_sender_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:hunter2@")

    with pytest.raises(errors.ConfigError, match="HTTP_PROXY"):
        doors.ask_endpoint("http://127.0.0.1:1/hook")


def test_only_the_http_proxy_gets_its_user_and_password(
    authority: authorities.Authority, secure: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relays.Connect() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")

        assert doors.ask_endpoint(secure.url, ca=authority.file) == ""

    assert b"\r\nproxy-authorization: basic bwu6cebzcw==\r\n" in proxy.seen[0].lower()
    assert "proxy-authorization" not in secure.received[0].headers


def test_both_clients_verify_the_certificate_of_an_https_proxy_alike(
    authority: authorities.Authority, secure: endpoints.Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relays.Connect(context=authority.serving("proxy")) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        cluster = {"certificate-authority": str(authority.file), "proxy-url": url}
        assert doors.ask_api(tmp_path, secure.url.removesuffix("/hook"), cluster) == ""
        monkeypatch.setenv("HTTPS_PROXY", url)
        assert doors.ask_endpoint(secure.url, ca=authority.file) == ""

    assert proxy.targets == [("127.0.0.1", secure.port)] * 2


# --- the API server


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_the_api_server_is_reached_by_the_socks_proxy_of_the_kubeconfig(
    scheme: str, authority: authorities.Authority, secure: endpoints.Endpoint, tmp_path: Path
) -> None:
    with relays.Socks5(username="me", password="mine") as proxy:
        cluster = {
            "certificate-authority": str(authority.file),
            "proxy-url": f"{scheme}://me:mine@localhost:{proxy.port}",
        }

        assert doors.ask_api(tmp_path, f"https://127.0.0.1:{secure.port}", cluster) == ""

    assert proxy.targets == [("127.0.0.1", secure.port)]


def test_the_api_server_is_reached_by_the_http_proxy_of_the_kubeconfig(
    authority: authorities.Authority, secure: endpoints.Endpoint, tmp_path: Path
) -> None:
    with relays.Connect() as proxy:
        cluster = {
            "certificate-authority": str(authority.file),
            "proxy-url": f"http://me:p%40ss@127.0.0.1:{proxy.port}",
        }

        assert doors.ask_api(tmp_path, f"https://localhost:{secure.port}", cluster) == ""

    assert proxy.targets == [("localhost", secure.port)]
    assert b"\r\nproxy-authorization: basic bwu6cebzcw==\r\n" in proxy.seen[0].lower()
    assert "proxy-authorization" not in secure.received[0].headers


def test_the_api_server_is_reached_without_the_proxies_of_the_environment(
    authority: authorities.Authority, secure: endpoints.Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"certificate-authority": str(authority.file)}
    with relays.Connect() as proxy, relays.Connect() as own:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

        assert doors.ask_api(tmp_path, secure.url.removesuffix("/hook"), cluster) == ""
        assert proxy.targets == []

        monkeypatch.setenv("NO_PROXY", "*")
        cluster["proxy-url"] = f"http://127.0.0.1:{own.port}"
        assert doors.ask_api(tmp_path, secure.url.removesuffix("/hook"), cluster) == ""
        assert own.targets == [("127.0.0.1", secure.port)]


@pytest.mark.parametrize("value", ["socks5h://", "nonsense://x", "http://u:p@"])
def test_a_broken_proxy_of_the_environment_does_not_disturb_the_api_server(
    value: str, plain: endpoints.Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    monkeypatch.setenv("ALL_PROXY", value)

    assert doors.ask_api(tmp_path, f"http://127.0.0.1:{urlsplit(plain.url).port}", {}) == ""


def test_a_slow_socks_proxy_cannot_exceed_the_timeout_of_the_api_server(tmp_path: Path) -> None:
    answers: list[str] = []
    with relays.Scripted(drip) as proxy:
        cluster = {"proxy-url": f"socks5://127.0.0.1:{proxy.port}"}
        asking = threading.Thread(
            target=lambda: answers.append(doors.ask_api(tmp_path, "http://127.0.0.1:1", cluster)), daemon=True
        )
        asking.start()
        asking.join(HANG_S - 5)  # dripping, the reply would take 25 s for its host alone

    assert answers == [
        f"http://127.0.0.1:1 does not answer by the proxy socks5://127.0.0.1:{proxy.port}: no response in time"
    ]


@pytest.mark.parametrize(
    "url", ["socks4://p:1", "http://", "http://me:hunter2@", "http://p:x", "ftp://p", "http://[::1"]
)
def test_a_proxy_url_that_cannot_be_used_is_refused_at_the_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="proxy-url: ") as caught:
        doors.ask_api(tmp_path, "https://127.0.0.1:1", {"proxy-url": url})

    assert "hunter2" not in str(caught.value)
