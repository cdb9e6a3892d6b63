"""Every kind of kubeconfig works, and none imports more of the official client than it needs."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3

from beacon import codec
from beacon.cluster import connection, credentials, library
from beacon.codec import documents
from beacon.dev.api_server import server as api_server
from tests.unit import scripts

SCRIPT = """
import json, sys
from beacon.boundary import lazy_import
from beacon.cluster import connection, credentials, lists
print(lists.cluster_uid(connection.Connection(credentials.source({"KUBECONFIG": sys.argv[1]}, connections=1))))
print(json.dumps(sorted(set(sys.modules) - lazy_import.deferred())))
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
    path.write_text(documents.dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", **named}))
    return credentials.source({"KUBECONFIG": str(path)}, connections=1)


def bearer(load: credentials.Load) -> object:
    return dict(load().headers)["Authorization"]


def test_requests_to_a_cluster_load_no_models_of_the_client(tmp_path: Path) -> None:
    with api_server.running() as api:
        done = scripts.run(SCRIPT, str(api.kubeconfig(tmp_path / "kubeconfig")))

    assert done.stderr == b""
    uid, loaded = done.stdout.decode().splitlines()
    assert len(uid) == 36
    assert UNUSED & set(json.loads(loaded)) == set()


def test_the_whole_client_can_still_be_imported() -> None:
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


def test_a_plugin_returns_the_token(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("inline", [(), ("certificate",), ("key",), ("certificate", "key")])
def test_a_clients_certificate_and_the_clusters_proxy_are_used(tmp_path: Path, inline: tuple[str, ...]) -> None:
    issued = trustme.CA().issue_cert("me")
    parts = {"certificate": issued.cert_chain_pems[0].bytes(), "key": issued.private_key_pem.bytes()}
    user: dict[str, str] = {}
    for name, pem in parts.items():
        (tmp_path / f"{name}.pem").write_bytes(pem)
        data = base64.b64encode(pem).decode()
        user |= {f"client-{name}-data": data} if name in inline else {f"client-{name}": f"{name}.pem"}

    read = kubeconfig(tmp_path / "k", user, **{"proxy-url": "http://127.0.0.1:2", "tls-server-name": "there"})()

    pool: Any = library.client(read).pool_manager
    assert isinstance(pool, urllib3.ProxyManager)
    assert pool.connection_pool_kw["server_hostname"] == "there"
    assert pool.connection_pool_kw["ssl_context"] is read.context


def test_a_proxy_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3")

    read = kubeconfig(tmp_path / "k", {"token": "t"})()

    pool: Any = library.client(read).pool_manager
    assert not isinstance(pool, urllib3.ProxyManager)


def test_the_path_and_query_are_quoted(tmp_path: Path) -> None:
    with api_server.running() as api:
        load = credentials.source({"KUBECONFIG": str(api.kubeconfig(tmp_path / "k"))}, connections=1)
        said = connection.Connection(load).get("/api/v1/namespaces", query=[("fieldSelector", "metadata.name=a/b&c d")])

    assert codec.decode(said)["items"] == []
