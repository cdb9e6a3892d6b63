"""No secret of any kind of credentials is found outside the requests: in no log, file, process or command."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from beacon.dev import testkit
from beacon.dev.api_server import remote
from tests.system.conftest import ANNOTATION
from tests.unit.notifier import endpoints, running

SECRETS = {
    "token": "s3cret-of-bearer",
    "password": "s3cret-of-basic",
    "key": "s3cret-of-a-header",
    "client": "s3cret-of-the-client",
    "signing": "whsec_" + base64.b64encode(b"s3cret-of-the-signatures" * 2).decode(),
}
ISSUED = "s3cret-of-the-issuer"


class World:
    """A cluster, a receiver that repeats all headers in its refusals, a token endpoint, and a running Beacon."""

    def __init__(self, place: Path, cluster: remote.Remote) -> None:
        self.cluster = cluster
        self.refuses = True
        self.receiver = endpoints.Endpoint(self._receive)
        self.login = endpoints.Endpoint(self._issue)
        self.files = {name: place / f"{name}.secret" for name in SECRETS}
        for name, secret in SECRETS.items():
            self.files[name].write_text(f"{secret}\n")
        files = {name: str(file) for name, file in self.files.items()}
        client = {
            "tokenURL": self.login.url,
            "clientID": "me",
            "clientSecretFile": files["client"],
            "clientAuth": "body",
        }
        auths: dict[str, dict[str, Any]] = {
            "bearer": {"bearer": {"tokenFile": files["token"]}},
            "basic": {"basic": {"username": "me", "passwordFile": files["password"]}},
            "oauth2": {"oauth2": client, "headerFiles": {"X-API-Key": files["key"]}},
        }
        config = {
            "app": {"logLevel": "debug"},
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": ANNOTATION},
            "endpoints": [
                {
                    "name": name,
                    "url": f"{self.receiver.url}/{name}",
                    "auth": auth,
                    "signing": {"secretFiles": [files["signing"]]},
                    "retry": {"initialBackoff": "100ms", "maxBackoff": "200ms"},
                }
                for name, auth in auths.items()
            ],
        }
        self.names = tuple(auths)
        self.beacon = testkit.Beacon(place, config=config, kubeconfig=cluster.kubeconfig)

    def _receive(self, request: endpoints.Received, _line: object) -> endpoints.Reply:
        return endpoints.Reply(422 if self.refuses else 204, json.dumps(request.headers).encode())

    def _issue(self, _request: endpoints.Received, _line: object) -> endpoints.Reply:
        return endpoints.Reply(200, json.dumps({"access_token": ISSUED, "expires_in": 3600}).encode())

    def accepted(self, name: str) -> endpoints.Received | None:
        return next((one for one in list(self.receiver.received) if one.path == f"/hook/{name}"), None)

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "beacon.cli", *arguments]
        done = subprocess.run(
            command, env=self.beacon.environ, capture_output=True, text=True, check=False, timeout=300
        )
        return done.stdout + done.stderr


@pytest.fixture
def world(place: Path, cluster: remote.Remote) -> Iterator[World]:
    made = World(place, cluster)
    try:
        with made.beacon:
            made.beacon.wait_ready()
            yield made
    finally:
        made.receiver.down()
        made.login.down()


def needles() -> list[bytes]:
    """Return the parts of secrets that must be found nowhere, also in the forms in which they are sent."""
    signing = SECRETS["signing"].removeprefix("whsec_")
    basic = base64.b64encode(f"me:{SECRETS['password']}".encode()).decode()
    plain = [*SECRETS.values(), ISSUED, signing, basic]
    return [secret.encode() for secret in plain]


def found(data: bytes) -> list[bytes]:
    return [needle for needle in needles() if needle in data]


def test_no_secret_is_found_outside_the_requests(world: World, place: Path) -> None:
    for number in range(2):
        body = {"metadata": {"name": f"a{number}", "annotations": {ANNOTATION: "1"}}}
        world.cluster.request("POST", "/api/v1/namespaces/default/configmaps", body)
    running.wait_for(lambda: all(map(world.accepted, world.names)))
    said = [world.run("test-event", "--endpoint", name) for name in world.names]
    running.wait_for(lambda: world.run("events", "--state", "failed", "-o", "json").count('"422"') >= 6)
    backup = place / "backup.db"

    said += [world.run("backup", str(backup)), world.run("check-config"), world.run("check-config", "-o", "json")]
    said += [world.run("status"), world.run("status", "-o", "json"), world.run("events", "-o", "json")]
    assert world.beacon.process is not None
    processes = psutil.Process(world.beacon.process.pid).children(recursive=True)
    of_processes = b""
    for process in processes:
        for name in ("environ", "cmdline"):
            of_processes += Path(f"/proc/{process.pid}/{name}").read_bytes()
    written = {path for path in place.rglob("*") if path.is_file() and path.suffix != ".secret"}
    lines = json.dumps([*world.beacon.lines, world.beacon.plain_lines]).encode()

    authorizations = {name: world.accepted(name).headers["authorization"].split()[0] for name in world.names}  # type: ignore[union-attr]
    assert authorizations == {"bearer": "Bearer", "basic": "Basic", "oauth2": "Bearer"}
    assert found(world.accepted("oauth2").headers["x-api-key"].encode()) == [b"s3cret-of-a-header"]  # type: ignore[union-attr]
    shown = {
        one["endpoint"]: one.get("tokenExpires") for one in json.loads(world.run("status", "-o", "json"))["endpoints"]
    }
    assert [name for name, expires in shown.items() if expires] == ["oauth2"]
    assert f"the token of oauth2 expires at {shown['oauth2']}" in world.run("status")
    assert "***" in said[0], "the refusal is shown, masked"
    assert backup in written
    assert place / "events.db" in written
    assert len(of_processes) > 1000
    assert found("".join(said).encode()) == []
    assert found(of_processes) == []
    assert found(lines) == []
    assert {str(path): found(path.read_bytes()) for path in written if found(path.read_bytes())} == {}
