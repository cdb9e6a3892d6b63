"""Every kind of kubeconfig is read by the official client as ever, and none brings more of it than it needs."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from http import server
from pathlib import Path
from typing import Any

import pytest
import urllib3

from beacon import codec
from beacon.cluster import connection, credentials, library
from beacon.dev.cluster import server as api_server
from tests.unit import scripts

LOOK = """
import json, sys
from beacon import slim
from beacon.cluster import connection, credentials, listing
print(listing.cluster_uid(connection.Connection(credentials.source({"KUBECONFIG": sys.argv[1]}, connections=1))))
print(json.dumps(sorted(set(sys.modules) - slim.unrun_modules())))
"""
UNUSED = {
    "kubernetes.client.api_client",
    "kubernetes.client.models",
    "kubernetes.dynamic",
    "oauthlib.oauth2",
    "requests",
}


def kubeconfig(path: Path, user: dict[str, Any], **cluster: str) -> credentials.Load:
    named = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(codec.dump_yaml({"apiVersion": "v1", "kind": "Config", "current-context": "x", **named}))
    return credentials.source({"KUBECONFIG": str(path)}, connections=1)


def bearer(load: credentials.Load) -> object:
    return load().auth_settings()["BearerToken"]["value"]


def test_a_cluster_is_asked_without_the_clients_models(tmp_path: Path) -> None:
    with api_server.running() as api:
        done = scripts.run(LOOK, str(api.kubeconfig(tmp_path / "kubeconfig")))

    assert done.stderr == b""
    uid, loaded = done.stdout.decode().splitlines()
    assert len(uid) == 36
    assert UNUSED & set(json.loads(loaded)) == set()


def test_the_client_is_whole_for_whoever_wants_it_whole() -> None:
    code = "import beacon.cluster.library; from kubernetes import client, dynamic; print(client.CoreV1Api(), dynamic)"

    done = scripts.run(code)

    assert done.stderr == b""
    assert done.stdout.startswith(b"<kubernetes.client.api.core_v1_api.CoreV1Api object")


def test_a_user_and_a_password_are_sent(tmp_path: Path) -> None:
    load = kubeconfig(tmp_path / "k", {"username": "me", "password": "mine"})

    assert bearer(load) == f"Basic {base64.b64encode(b'me:mine').decode()}"


def test_a_token_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of the file\n")

    assert bearer(kubeconfig(tmp_path / "k", {"tokenFile": "token"})) == "Bearer of the file"


def test_a_plugin_that_is_run_gives_the_token(tmp_path: Path) -> None:
    said = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "of the plugin"},
    }
    (tmp_path / "said").write_text(json.dumps(said))
    plugin = {
        "apiVersion": said["apiVersion"],
        "command": "cat",
        "args": [str(tmp_path / "said")],
        "interactiveMode": "Never",
    }

    assert bearer(kubeconfig(tmp_path / "k", {"exec": plugin})) == "Bearer of the plugin"


def test_a_clients_certificate_and_the_clusters_proxy_are_used(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("certificate")
    key = base64.b64encode(b"key").decode()
    user = {"client-certificate": "cert.pem", "client-key-data": key}

    read = kubeconfig(tmp_path / "k", user, **{"proxy-url": "http://127.0.0.1:2", "tls-server-name": "there"})()

    assert read.cert_file == str(tmp_path / "cert.pem")
    assert Path(str(read.key_file)).read_text() == "key"
    pool: Any = library.RESTClientObject(read).pool_manager
    assert isinstance(pool, urllib3.ProxyManager)
    assert pool.connection_pool_kw["server_hostname"] == "there"
    assert pool.connection_pool_kw["key_file"] == read.key_file


def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3")

    assert kubeconfig(tmp_path / "k", {"token": "t"})().proxy == "http://127.0.0.1:3"


class Issuer(server.BaseHTTPRequestHandler):
    """Says where tokens are to be had, and gives a new one."""

    def do_GET(self) -> None:
        self._say({"token_endpoint": f"http://{self.headers['Host']}/token"})

    def do_POST(self) -> None:
        self._say({"access_token": "a", "token_type": "Bearer", "id_token": "new", "refresh_token": "next"})

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _say(self, value: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(codec.encode(value))


@pytest.fixture
def issuer() -> Iterator[str]:
    with server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_a_token_of_open_id_connect_is_renewed_at_its_issuer(
    tmp_path: Path, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    expired = base64.urlsafe_b64encode(codec.encode({"exp": int(time.time()) - 60})).decode().rstrip("=")
    config = {
        "idp-issuer-url": issuer,
        "client-id": "beacon",
        "client-secret": "s",
        "refresh-token": "r",
        "id-token": f"h.{expired}.s",
    }

    load = kubeconfig(tmp_path / "k", {"auth-provider": {"name": "oidc", "config": config}})

    assert bearer(load) == "Bearer new"


def test_what_is_asked_for_is_quoted(tmp_path: Path) -> None:
    with api_server.running() as api:
        load = credentials.source({"KUBECONFIG": str(api.kubeconfig(tmp_path / "k"))}, connections=1)
        said = connection.Connection(load).get("/api/v1/namespaces", query=[("fieldSelector", "metadata.name=a/b&c d")])

    assert codec.decode(said)["items"] == []
