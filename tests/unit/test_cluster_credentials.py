"""Credentials are read from their present location, and errors describe them without repeating them."""

import base64
import codecs
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from beacon import codec, errors
from beacon.cluster import connection, credentials, failures, lists
from beacon.dev.api_server import server as api_server
from beacon.dev.api_server import tls
from tests.interpreters import doors, relays
from tests.unit.notifier import endpoints

POD = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text("first-token")
    return tmp_path


def token_of(load: credentials.Load) -> str | None:
    return dict(load().headers)["Authorization"]


def test_without_a_kubeconfig_and_outside_a_pod_the_configuration_is_wrong() -> None:
    with pytest.raises(errors.ConfigError, match="KUBECONFIG"):
        credentials.source({}, connections=1)


@pytest.mark.parametrize("text", ["", "a: [", "just text", "- a\n- b", "clusters: 5\nusers: 1\ncontexts: 2"])
def test_an_unusable_kubeconfig_is_an_error_of_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(errors.ConfigError) as caught:
        credentials.source({"KUBECONFIG": str(path)}, connections=1)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_kubeconfig_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="can't be used"):
        credentials.source({"KUBECONFIG": str(tmp_path / "none")}, connections=1)


def test_a_pod_uses_its_service_account(account: Path) -> None:
    load = credentials.source(POD, connections=9, service_account=account)

    access = load()
    assert access.server == "https://127.0.0.1:1"
    assert access.context.cert_store_stats()["x509_ca"] == 1
    assert access.connections == 9
    assert token_of(load) == "Bearer first-token"


def test_a_token_that_was_replaced_is_read_again(account: Path) -> None:
    load = credentials.source(POD, connections=1, service_account=account)
    load()

    (account / "token").write_text("second-token\n")

    assert token_of(load) == "Bearer second-token"


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path, account: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    for name, data in {
        "t": b"second-token",
        "cert": issued.cert_chain_pems[0].bytes(),
        "token": b"first-token",
    }.items():
        (tmp_path / name).write_bytes(codecs.BOM_UTF8 + data)
    key = base64.b64encode(codecs.BOM_UTF8 + issued.private_key_pem.bytes()).decode()
    user = {"tokenFile": "t", "client-certificate": "cert", "client-key-data": key}
    path = doors.write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user=user)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())

    assert token_of(credentials.source({"KUBECONFIG": str(path)}, connections=1)) == "Bearer second-token"
    assert token_of(credentials.source(POD, connections=1, service_account=account)) == "Bearer first-token"


def test_a_token_file_that_is_empty_for_a_moment_is_no_reason_to_end(account: Path) -> None:
    (account / "token").write_text("")
    load = credentials.source(POD, connections=1, service_account=account)

    with pytest.raises(failures.Unreachable, match="service account"):
        load()


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ({"token": "hunter2\nhunter2"}, "the token of user 'me' in the kubeconfig"),
        ({"username": "a", "password": "hunter2\nhunter2"}, "the password of user 'me' in the kubeconfig"),
        ({"username": "hunter2\0", "password": "b"}, "the username of user 'me' in the kubeconfig"),
        ({"as": "hunter2\r\nX-More: 1"}, "`as` in the kubeconfig"),
    ],
)
def test_a_secret_that_is_no_header_is_named_and_not_quoted(tmp_path: Path, user: dict[str, str], name: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        doors.open_api(doors.write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1", user=user))

    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_token_file_that_is_no_header_is_named_and_not_quoted(tmp_path: Path, account: Path) -> None:
    (tmp_path / "t").write_text("hunter2\nhunter2\n")
    (account / "token").write_text("hunter2\thunter2\n")
    api = doors.open_api(doors.write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1", user={"tokenFile": "t"}))

    with pytest.raises(failures.Unreachable, match=r"the tokenFile of user 'me' .*/t contains a line feed") as caught:
        api.get("/version")
    with pytest.raises(failures.Unreachable, match=r"the service account's token .*/token contains a line feed") as pod:
        credentials.source(POD, connections=1, service_account=account)()

    assert "hunter2" not in str(caught.value) + str(pod.value)


class Guard:
    """An API server that accepts one token at a time."""

    def __init__(self) -> None:
        self.token = "first"
        self.served = endpoints.Endpoint(self._answer)

    def _answer(self, request: endpoints.Received, _: object) -> endpoints.Reply:
        accepted = request.headers.get("authorization") == f"Bearer {self.token}"
        return endpoints.Reply(200 if accepted else 401, b"{}")


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.served.down()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("way", ["file", "inline", "plugin"])
def test_a_token_that_ends_in_a_line_feed_works_for_every_request(
    guard: Guard, tmp_path: Path, end: str, way: str
) -> None:
    secret = tmp_path / "secret"
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    plugin = {"apiVersion": status["apiVersion"], "command": "cat", "args": [str(secret)]}

    def put(token: str) -> dict[str, object]:
        text = codec.encode(status | {"status": {"token": token + end}}) if way == "plugin" else (token + end).encode()
        secret.write_bytes(text)
        ways: dict[str, dict[str, object]] = {
            "file": {"tokenFile": "secret"},
            "inline": {"token": token + end},
            "plugin": {"exec": plugin},
        }
        return ways[way]

    url = f"http://127.0.0.1:{guard.served.port}"
    api = doors.open_api(doors.write_kubeconfig(tmp_path / "k", url, user=put("first")))
    assert [api.get("/version") for _ in range(3)] == [b"{}"] * 3

    guard.token = "second"
    doors.write_kubeconfig(tmp_path / "k", url, user=put("second"))

    assert [api.get("/version") for _ in range(3)] == [b"{}"] * 3


def test_a_token_file_that_is_half_written_leaves_the_former_token_in_force(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("first")
    url = f"http://127.0.0.1:{guard.served.port}"
    api = doors.open_api(doors.write_kubeconfig(tmp_path / "k", url, user={"tokenFile": "secret"}))
    assert api.get("/version") == b"{}"

    (tmp_path / "secret").write_text("")

    assert api.get("/version") == b"{}"


def test_an_impersonated_user_is_named_in_the_requests_headers(tmp_path: Path) -> None:
    heads: list[str] = []

    def answer(peer: socket.socket) -> None:
        heads.append(peer.recv(65536).decode())
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    user = {
        "token": "t",
        "as": "jürgen",
        "as-uid": "12",
        "as-groups": ["a", "b"],
        "as-user-extra": {"example.com/Team": ["x", "y"]},
    }
    with relays.Scripted(answer) as server:
        path = doors.write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{server.port}", user=user)
        doors.open_api(path).get("/version")

    lines = heads[0].split("\r\n")
    assert [line for line in lines if line.startswith("Impersonate-")] == [
        "Impersonate-User: jürgen",
        "Impersonate-Uid: 12",
        "Impersonate-Group: a",
        "Impersonate-Group: b",
        "Impersonate-Extra-example.com%2Fteam: x",
        "Impersonate-Extra-example.com%2Fteam: y",
    ]


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"auth-provider": {"name": "gcp"}}, "auth-provider 'gcp', which is not supported: use exec, token"),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": "hunter2"}}}, "auth-provider 'oidc'"),
        ({"as-groups": ["a"]}, "without `as`"),
        ({"client-certificate": "x"}, "go together"),
        ({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}, "has apiVersion"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "has no command"),
        ({"token": {"hunter2": 1}}, "Expected `str`"),
        ({"client-certificate-data": "hunter2!", "client-key-data": "hunter2!"}, "is not Base64"),
        ({"client-certificate-data": "aGk=", "client-key-data": "aGk="}, "can't be used for TLS"),
    ],
)
def test_unsupported_settings_are_rejected_in_words(tmp_path: Path, user: dict[str, object], why: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        doors.open_api(doors.write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user=user))

    assert why in str(caught.value)
    assert str(tmp_path / "k") in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_plugin_that_needs_a_terminal_is_refused(tmp_path: Path) -> None:
    plugin = {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Always"}

    with pytest.raises(errors.ConfigError, match="interactiveMode Always"):
        doors.open_api(doors.write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user={"exec": plugin}))


@pytest.mark.parametrize(
    "server",
    ["", "127.0.0.1:1", "ftp://x", "https://", "https://me:hunter2@x", "https://x:y", "https://[::1", "http://x?a"],
)
def test_a_server_that_cannot_be_used_is_refused(tmp_path: Path, server: str) -> None:
    with pytest.raises(errors.ConfigError, match="the cluster's server must be a URL") as caught:
        doors.open_api(doors.write_kubeconfig(tmp_path / "k", server))

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("missing", ["current-context", "contexts", "clusters", "users"])
def test_a_part_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    path = doors.write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1")
    whole = codec.decode(path.read_bytes())
    del whole[missing]
    path.write_bytes(codec.encode(whole))

    with pytest.raises(errors.ConfigError, match=r"names no current-context|does not exist"):
        doors.open_api(path)


def test_of_several_files_the_first_that_defines_a_name_counts(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "t").write_text("of a")
    first = doors.write_kubeconfig(tmp_path / "a" / "k", "https://127.0.0.1:1", user={"tokenFile": "t"})
    second = doors.write_kubeconfig(tmp_path / "k", "https://127.0.0.1:2", user={"token": "of b"})

    paths = f"{tmp_path / 'none'}:{first}::{second}"
    access = credentials.source({"KUBECONFIG": paths}, connections=1)()

    assert access.server == "https://127.0.0.1:1"
    assert dict(access.headers)["Authorization"] == "Bearer of a"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_kubeconfig_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "k")

    with pytest.raises(errors.ConfigError, match="can't be used"):
        doors.open_api(tmp_path / "k")


@contextlib.contextmanager
def deceptive(tmp_path: Path) -> Iterator[str]:
    """Serve TLS by an authority that is not the one in `ca.crt`; yield the URL."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    context = tls.ApiAuthority("127.0.0.1").context()
    endpoint = endpoints.Endpoint(lambda *_: endpoints.Reply(200, b"{}"), context=context)
    try:
        yield endpoint.url
    finally:
        endpoint.down()


def refused(load: credentials.Load) -> str:
    with pytest.raises(failures.Unreachable) as caught:
        connection.Connection(load, connect_s=30, read_s=30).get("/version")
    return str(caught.value)


def test_the_authorities_that_are_wrong_are_named(tmp_path: Path, account: Path) -> None:
    with deceptive(tmp_path) as url:
        pem = base64.b64encode((tmp_path / "ca.crt").read_bytes()).decode()
        by_file, by_data, by_system = (
            refused(credentials.source({"KUBECONFIG": str(path)}, connections=1))
            for path in (
                doors.write_kubeconfig(tmp_path / "file", url, cluster={"certificate-authority": "ca.crt"}),
                doors.write_kubeconfig(tmp_path / "data", url, cluster={"certificate-authority-data": pem}),
                doors.write_kubeconfig(tmp_path / "system", url),
            )
        )
        pod = {**POD, "KUBERNETES_SERVICE_PORT": url.rpartition(":")[2].rstrip("/")}
        by_pod = refused(credentials.source(pod, connections=1, service_account=account))

    assert by_file.endswith(f"; trusted: {tmp_path}/ca.crt")
    assert by_data.endswith("; trusted: certificate-authority-data in the kubeconfig")
    assert by_system.endswith("; trusted: the authorities of the system")
    assert by_pod.endswith(f"; trusted: {account}/ca.crt")
    assert all("certificate verify failed" in why for why in (by_file, by_data, by_system, by_pod))


def test_the_authorities_are_not_blamed_for_another_host(tmp_path: Path) -> None:
    authority = tls.ApiAuthority("elsewhere")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    endpoint = endpoints.Endpoint(lambda *_: endpoints.Reply(200, b"{}"), context=authority.context())
    path = doors.write_kubeconfig(tmp_path / "k", endpoint.url, cluster={"certificate-authority": "ca.crt"})

    why = refused(credentials.source({"KUBECONFIG": str(path)}, connections=1))
    endpoint.down()

    assert "certificate verify failed" in why
    assert "trusted" not in why


def test_a_certificate_of_another_host_is_an_error_with_its_cause(tmp_path: Path) -> None:
    with api_server.running() as api, api_server.running() as other:
        path = api.kubeconfig(tmp_path / "kubeconfig")
        path.write_text(path.read_text().replace(api.url, other.url))
        deceived = connection.Connection(credentials.source({"KUBECONFIG": str(path)}, connections=1))

        with pytest.raises(failures.Unreachable, match="certificate verify failed"):
            lists.cluster_uid(deceived)
