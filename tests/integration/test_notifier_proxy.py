"""The proxy of one endpoint: configured, none, or of the environment; its password file changes; nothing shows it."""

import base64
import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from beacon import errors
from beacon.notifier.transport import answer, blocking_sender, endpoint_proxy, route, tls_context
from tests.interpreters import relays
from tests.unit.notifier import endpoints, running

PASSWORD, OTHER = "p@ss/w0rd-one", "secret:number two"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[endpoints.Endpoint]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "far.example").configure_cert(context)
    made = endpoints.Endpoint(context=context)
    yield made
    made.down()


@pytest.fixture
def plain() -> Iterator[endpoints.Endpoint]:
    made = endpoints.Endpoint()
    yield made
    made.down()


class Sending:
    """A sender with a proxy, and what it reports."""

    def __init__(self, url: str, proxy: endpoint_proxy.ProxyConfig, ca: Path | None = None) -> None:
        self.secrets: list[str] = []
        self.problems: list[str] = []
        files = tls_context.TlsFiles(ca=str(ca) if ca else "")
        target = route.Target(url=url, method="POST", agent="b", width=2, files=files, proxy=proxy)
        assert "hunter" not in repr(target)
        self.sender = blocking_sender.BlockingSender(
            target,
            token=lambda: "",
            listener=route.RouteListener(proxy_error=self.problems.append, secrets=self.secrets.extend),
        )

    def send(self) -> answer.EndpointAnswer:
        return self.sender.send(b"{}", event_id="1", timeout_s=60.0)


Open = Callable[..., Sending]


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Open]:
    with contextlib.ExitStack() as stack:

        def make(to: str, /, **proxy: str) -> Sending:
            made = Sending(to, endpoint_proxy.ProxyConfig(**proxy), tmp_path / "ca.pem" if "https" in to else None)
            stack.callback(made.sender.close)
            return made

        yield make


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


def authorization(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def replace(path: Path, text: str) -> None:
    """Replace a file in one step, as a mounted secret is replaced."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def named(endpoint: endpoints.Endpoint, host: str) -> str:
    return endpoint.url.replace("127.0.0.1", host)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_endpoint_is_reached_by_its_own_tunnel(
    scheme: str, authority: trustme.CA, secure: endpoints.Endpoint, sending: Open, password: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with relays.Connect(context=context if scheme == "https" else None) as relay:
        url = f"{scheme}://127.0.0.1:{relay.port}"
        door = sending(named(secure, "far.example"), url=url, username="me", password_file=str(password))

        assert [door.send().status for _ in range(3)] == [204] * 3

        assert relay.targets == [("far.example", secure.port)]
        assert f"Proxy-Authorization: {authorization('me', PASSWORD)}\r\n".encode() in relay.seen[0]
    assert "proxy-authorization" not in secure.received[0].headers


@pytest.mark.parametrize(("scheme", "target"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
def test_an_endpoint_is_reached_by_its_own_socks_proxy(
    scheme: str, target: str, plain: endpoints.Endpoint, sending: Open, password: Path
) -> None:
    with relays.Socks5(username="me", password=PASSWORD) as relay:
        url = f"{scheme}://127.0.0.1:{relay.port}"
        door = sending(named(plain, "localhost"), url=url, username="me", password_file=str(password))

        assert door.send().status == 204

        assert relay.targets[-1] == (target, plain.port)


def test_a_user_without_a_password_is_sent_to_an_http_proxy(plain: endpoints.Endpoint, sending: Open) -> None:
    door = sending("http://far.example/", url=f"http://127.0.0.1:{plain.port}", username="token")

    assert door.send().status == 204
    assert plain.received[0].headers["proxy-authorization"] == authorization("token", "")


def test_neither_none_nor_a_configured_proxy_uses_that_of_the_environment(
    plain: endpoints.Endpoint, sending: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relays.Socks5() as environments, relays.Socks5() as own:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{environments.port}")
        assert sending(plain.url, url=endpoint_proxy.NONE).send().status == 204
        assert (environments.targets, own.targets) == ([], [])

        monkeypatch.setenv("NO_PROXY", "*")
        assert sending(plain.url, url=f"socks5://127.0.0.1:{own.port}").send().status == 204
        assert (environments.targets, own.targets) == ([], [("127.0.0.1", plain.port)])

        monkeypatch.setenv("NO_PROXY", "")
        assert sending(plain.url, url=endpoint_proxy.OF_ENVIRONMENT).send().status == 204
        assert environments.targets == [("127.0.0.1", plain.port)]


def test_a_changed_password_is_used_for_new_connections(
    plain: endpoints.Endpoint, sending: Open, password: Path
) -> None:
    proxy = f"http://127.0.0.1:{plain.port}"
    door = sending("http://far.example/hook", url=proxy, username="me", password_file=str(password))
    assert door.send().status == 204

    replace(password, OTHER)
    running.wait_for(
        lambda: (
            door.send().status == 204
            and plain.received[-1].headers["proxy-authorization"] == authorization("me", OTHER)
        )
    )

    assert plain.received[0].headers["proxy-authorization"] == authorization("me", PASSWORD)
    assert plain.received[-1].connection != plain.received[0].connection
    assert plain.received[-1].path == "http://far.example/hook"
    assert {PASSWORD, OTHER, f"me:{OTHER}"} <= {*door.secrets}


def test_an_unreadable_password_leaves_the_previous_one_in_use(
    plain: endpoints.Endpoint, sending: Open, password: Path
) -> None:
    proxy = f"http://127.0.0.1:{plain.port}"
    door = sending("http://far.example/", url=proxy, username="me", password_file=str(password))
    assert door.send().status == 204

    replace(password, "two\nlines")
    running.wait_for(lambda: door.send().status == 204 and bool(door.problems))

    assert {one.headers["proxy-authorization"] for one in plain.received} == {authorization("me", PASSWORD)}
    assert door.problems == [f"proxy.passwordFile {password} contains a line feed or another control character"]
    password.unlink()
    assert door.send().status == 204


def test_nothing_is_sent_before_the_password_can_be_read(
    plain: endpoints.Endpoint, sending: Open, tmp_path: Path
) -> None:
    path = tmp_path / "later"
    proxy = f"http://127.0.0.1:{plain.port}"
    door = sending("http://far.example/", url=proxy, username="me", password_file=str(path))

    got = [door.send() for _ in range(3)]

    problem = f"proxy.passwordFile {path} can't be read: No such file or directory"
    assert [(one.code, one.status, one.error) for one in got] == [(answer.NETWORK, 0, problem)] * 3
    assert door.problems == [problem]
    assert plain.connections == 0
    path.write_text(PASSWORD)
    running.wait_for(lambda: door.send().status == 204)
    assert plain.received[0].headers["proxy-authorization"] == authorization("me", PASSWORD)


@pytest.mark.parametrize("form", ["header", "pair", "password", "quoted"])
def test_no_answer_that_repeats_the_password_is_stored_with_it(
    form: str, plain: endpoints.Endpoint, sending: Open, password: Path
) -> None:
    forms = {
        "header": authorization("me", PASSWORD),
        "pair": f"me:{PASSWORD}",
        "password": PASSWORD,
        "quoted": "p%40ss%2Fw0rd-one",
    }
    plain.behave = lambda _request, _line: endpoints.Reply(407, f"rejected {forms[form]} here".encode())
    proxy = f"http://127.0.0.1:{plain.port}"
    door = sending("http://far.example/", url=proxy, username="me", password_file=str(password))

    got = door.send()

    assert got.status == 407
    assert got.error.startswith("rejected ")
    assert "***" in got.error
    for secret in (*forms.values(), "w0rd-one"):
        assert secret.removeprefix("Basic ") not in got.error
    replace(password, OTHER)  # the replaced one stays masked
    running.wait_for(lambda: "w0rd" not in door.send().error and {*door.secrets} >= {OTHER})
    assert "w0rd" not in door.send().error


def test_the_error_of_a_tunnel_holds_no_password(secure: endpoints.Endpoint, sending: Open, password: Path) -> None:
    head = f"HTTP/1.1 407 {authorization('me', PASSWORD)}\r\n\r\n".encode()
    with relays.Scripted(lambda client: client.sendall(head)) as relay:
        url = f"http://127.0.0.1:{relay.port}"
        got = sending(secure.url, url=url, username="me", password_file=str(password)).send()

    assert (got.code, got.status) == ("407", 407)
    assert "407" in got.error
    assert authorization("me", PASSWORD).removeprefix("Basic ") not in got.error


def test_an_unusable_proxy_is_refused_without_a_request() -> None:
    target = route.Target(
        url="http://a/", method="POST", agent="b", width=1, proxy=endpoint_proxy.ProxyConfig(url="gopher://me:pw@p")
    )

    with pytest.raises(errors.ConfigError, match="not supported") as refused:
        blocking_sender.BlockingSender(target, token=lambda: "")

    assert "pw" not in str(refused.value)
