"""`plan`, `rbac` and `explain` against an API server that answers oddly: sentences, never a traceback."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from beacon.cli import cluster_choice
from beacon.cli.commands import rbac
from beacon.cli.commands.explain import live_object
from beacon.cli.commands.plan import command as plan
from beacon.cli.commands.plan import rendering, scan
from beacon.domain import rules
from tests.integration import test_watcher_scripted as scripted
from tests.integration.watcher_world import KEY, ON

DEEP = b"[" * 5000 + b"]" * 5000
CONFIG = {
    "annotation": {"key": KEY},
    "endpoint": {"url": "http://127.0.0.1:1"},
    "resources": [
        {"apiVersion": "down.io/v1", "kind": "Down"},
        {"apiVersion": "v1", "kind": "ConfigMap"},
        {"apiVersion": "odd.io/v1", "kind": "Odd"},
    ],
}


class Handler(scripted.Handler, http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/apis/down.io"):
            self.close_connection = True  # as where an aggregated API is down: no answer
        elif self.path.startswith("/apis/"):
            self.say_bytes(b'{"kind":"APIResourceList","x":' + DEEP + b"}")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        data = b'{"kind":"SelfSubjectAccessReview","status":{"allowed":true}}'
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[scripted.Script]:
    script = scripted.Script()
    handler = type("OddHandler", (Handler,), {"script": script})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("KUBECONFIG", str(script.kubeconfig(tmp_path / "kubeconfig")))
        monkeypatch.setenv("BEACON_RUN_DIR", str(tmp_path))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield script
        server.shutdown()
        thread.join()


def run(command: click.Command, tmp_path: Path, *arguments: str) -> Result:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(CONFIG))
    return CliRunner().invoke(command, ["--config", str(path), *arguments])


def scope() -> rules.Scope:
    (found,) = rules.scopes([rules.Entry(api_version="v1", kind="ConfigMap")], annotation=KEY, values=None)
    return found


def surveyed(*entries: tuple[str, str]) -> dict[str, rendering.ScopeOutlook]:
    wanted = [rules.Entry(api_version=api_version, kind=kind) for api_version, kind in entries]
    found = scan.Survey(cluster_choice.ClusterChoice()).scopes(
        rules.scopes(wanted, annotation=KEY, values=None), None, updates=False
    )
    return {one.scope.id.kind: one for one in found}


def test_an_api_that_is_down_does_not_hide_the_others_from_plan(script: scripted.Script, tmp_path: Path) -> None:
    script.items = [
        scripted.line("ADDED", "a", 5)["object"],
        scripted.line("ADDED", "bad", 5, annotations={**ON, "x": 1})["object"],
    ]

    result = run(plan.command, tmp_path)

    assert result.exit_code == 1, result.output
    assert "downs" not in result.output
    for said in (
        "down.down.io: http",
        "does not answer",
        "odd.odd.io: the API server sent APIResourceList without resources",
        "ns/bad: its annotat",
    ):
        assert said in result.output
    (row,) = (text.split() for text in result.output.splitlines() if text.startswith("configmaps"))
    assert row == ["configmaps", "2", "1", "1"]


@pytest.mark.parametrize("odd", [DEEP, b'{"kind":"Status","metadata":{"resourceVersion":"5"}}', b"\xff"])
def test_a_list_that_is_none_is_a_problem_of_its_scope(script: scripted.Script, odd: bytes) -> None:
    script.odd = odd

    (found,) = surveyed(("v1", "ConfigMap")).values()

    assert "the API server sent" in found.problem


def test_rbac_names_the_kinds_that_discovery_cannot_resolve(script: scripted.Script, tmp_path: Path) -> None:
    assert script.url

    result = run(rbac.command, tmp_path)

    assert result.exit_code == 1
    assert "Down of down.io/v1" in result.output
    assert "Odd of odd.io/v1" in result.output


def test_explain_reports_that_an_object_cannot_be_read(script: scripted.Script) -> None:
    script.items = [scripted.line("ADDED", "bad", 5, annotations={**ON, "x": 1})["object"]]

    (said,) = live_object.why_not([scope()], "ConfigMap", "ns", "bad", chosen=cluster_choice.ClusterChoice())

    assert "cannot be read: its annotations" in said


def test_explain_reads_a_deep_object(script: scripted.Script) -> None:
    body = json.dumps({**scripted.LIST, "metadata": {"resourceVersion": "9"}, "items": ["DEEP"]}).encode()
    text = json.dumps(scripted.line("ADDED", "a", 5, managedFields="DEEP")["object"]).encode()
    script.odd = body.replace(b'"DEEP"', text.replace(b'"DEEP"', DEEP))

    (said,) = live_object.why_not([scope()], "ConfigMap", "ns", "a", chosen=cluster_choice.ClusterChoice())

    assert "accepted now" in said
