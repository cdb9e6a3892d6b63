"""All of Beacon under supervisord, with only the runtime lock; the test provides the API server and the endpoint."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.dev import testkit
from tests.interpreters import authorities, doors
from tests.unit.notifier import endpoints

VERSION = "client.authentication.k8s.io/v1"
OBJECT = {
    "metadata": {
        "name": "one",
        "namespace": "default",
        "uid": "7d0ab27d-9a4b-4e1d-8c9f-1f0c6f0e0001",
        "resourceVersion": "5",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"example.com/watched": "yes"},
    }
}
KIND = {"name": "configmaps", "singularName": "configmap", "namespaced": True, "kind": "ConfigMap"}
ANSWERS: dict[str, Any] = {
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [{**KIND, "verbs": ["list", "watch"]}]},
    "/api/v1/configmaps": {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "5"},
        "items": [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", **OBJECT}],
    },
}
BOOKMARK = {"type": "BOOKMARK", "object": {"kind": "PartialObjectMetadata", "metadata": {"resourceVersion": "6"}}}


def answer_api(request: endpoints.Received, line: socket.socket) -> endpoints.Reply | None:
    if request.headers.get("authorization") != "Bearer t0ken":
        return endpoints.Reply(403, b'{"kind":"Status","message":"system:anonymous may not"}')
    path, _, query = request.path.partition("?")
    if "watch=" not in query:
        found = ANSWERS.get(path)
        return endpoints.Reply(200 if found else 404, json.dumps(found or {"kind": "Status"}).encode())
    data = json.dumps(BOOKMARK).encode() + b"\n"
    line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(data), data))
    line.recv(1)  # until the watcher disconnects
    return None


def wait(beacon: testkit.Beacon, condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; when it does not come, raise with what Beacon answers and logs."""
    try:
        testkit.until(condition, what, timeout=60, stopped=lambda: beacon.process and beacon.process.poll() is not None)
    except (TimeoutError, errors.Stopping) as error:
        answers = (json.dumps(one) for one in (beacon.ready(), beacon.plain_lines[-10:], *beacon.lines[-20:]))
        raise AssertionError("\n".join([str(error), *answers])) from None


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory whose path is short enough for unix sockets."""
    made = Path(tempfile.mkdtemp(prefix="beacon-"))
    yield made
    shutil.rmtree(made)


def test_a_failing_plugin_is_reported_as_the_reason_and_a_working_one_delivers_events(directory: Path) -> None:
    authority = authorities.Authority(directory, "authority")
    api = endpoints.Endpoint(answer_api, context=authority.serving("api"))
    sink = endpoints.Endpoint(lambda *_: endpoints.Reply(200), context=authority.serving("sink"))
    plugin = directory / "plugin"
    plugin.write_text("#!/bin/sh\necho 'log in at x.example' >&2\nexit 1\n")
    plugin.chmod(0o755)
    user = {"exec": {"command": "./plugin", "apiVersion": VERSION, "interactiveMode": "Never"}}
    cluster = {"certificate-authority": "authority.pem"}
    kubeconfig = doors.write_kubeconfig(directory / "k", f"HTTPS://127.0.0.1:{api.port}", cluster=cluster, user=user)
    config = {
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "annotation": {"key": "example.com/watched"},
        "endpoint": {"url": sink.url, "tls": {"caFile": str(authority.file)}},
    }

    with testkit.Beacon(directory, config=config, kubeconfig=kubeconfig) as beacon:
        cause = "returned no credentials: it ended with code 1: log in at x.example"
        wait(beacon, lambda: cause in json.dumps(beacon.ready()), "the cause to stand in /ready")
        status = subprocess.run(
            [sys.executable, "-m", "beacon.cli", "status"],
            env=beacon.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert cause in " ".join(status.stdout.split())
        assert "anonymous" not in status.stdout
        assert api.received == []

        answer = {"apiVersion": VERSION, "kind": "ExecCredential", "status": {"token": "t0ken\n"}}
        plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")

        wait(beacon, lambda: sink.received, "the event")
        beacon.wait_ready(60)

    assert sink.received[0].subject.endswith("one")
    api.down()
    sink.down()
