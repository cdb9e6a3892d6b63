"""`python -m beacon.watcher` as supervisord starts it: its log, when it ends, and its exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from beacon.dev.api_server import server as api_server
from beacon.runtime import run_directory
from tests.integration import watcher_world

CONFIG = """
resources:
- apiVersion: v1
  kind: ConfigMap
- apiVersion: example.com/v1
  kind: Widget
endpoint:
  url: http://127.0.0.1:1/
"""
STOP_S = 25.0  # less than the timeouts of its requests, which it must not wait for


class Processes:
    """A store and a watcher in one run directory."""

    def __init__(self, kubeconfig: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="bw-"))
        (self.directory / "config.yaml").write_text(CONFIG)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KUBE")},
            "BEACON_RUN_DIR": str(self.directory),
            "CONFIG_PATH": str(self.directory / "config.yaml"),
            "DB_PATH": str(self.directory / "events.db"),
            **({"KUBECONFIG": kubeconfig} if kubeconfig else {}),
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", f"beacon.{name}"], env=self.environ, stdout=log)
        self.running.append(process)
        return process

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def lines(self, name: str = "watcher") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log(name).read_text().splitlines()]

    def states(self) -> dict[str, str]:
        reports = run_directory.read_reports(self.directory / "beacon")
        return {report.component: report.state for report in reports if report.process == "watcher"}

    def await_watching(self) -> None:
        expected = {"scope.ConfigMap": "watching", "scope.Widget.example.com": "waiting"}
        watcher_world.await_(lambda: self.states() == expected, explain=lambda: str(self.states()))

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        shutil.rmtree(self.directory)


@contextmanager
def processes(kubeconfig: str = "") -> Iterator[Processes]:
    made = Processes(kubeconfig)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def watching(tmp_path: Path) -> Iterator[tuple[api_server.ApiServer, Processes, subprocess.Popen[bytes]]]:
    """Run both processes against an API server until the streams are where they can be."""
    with api_server.running() as api, processes(str(api.kubeconfig(tmp_path / "kubeconfig"))) as both:
        both.start("store")
        watcher = both.start("watcher")
        both.await_watching()
        yield api, both, watcher


def test_it_watches_the_configured_scopes_logs_each_state_once_and_stops_on_sigterm(tmp_path: Path) -> None:
    with watching(tmp_path) as (_, both, watcher):
        watcher.terminate()

        assert watcher.wait(STOP_S) == 0
        said = [line["state"] for line in both.lines() if line["event"] == "watch state changed"]
        assert sorted(said) == ["listing", "waiting", "watching"]


def test_it_stops_in_time_while_the_api_server_is_frozen(tmp_path: Path) -> None:
    with watching(tmp_path) as (api, _, watcher):
        api.faults.freeze()
        api.faults.drop()

        watcher.terminate()
        assert watcher.wait(STOP_S) == 0


def test_it_stops_in_time_while_the_store_is_frozen(tmp_path: Path) -> None:
    with watching(tmp_path) as (api, both, watcher):
        both.running[0].send_signal(signal.SIGSTOP)
        for number in range(200):
            api.create("configmaps", watcher_world.object_(f"o{number}", watcher_world.ON))

        watcher.terminate()
        assert watcher.wait(STOP_S) == 0


def test_it_waits_for_a_store_that_is_late(tmp_path: Path) -> None:
    with api_server.running() as api, processes(str(api.kubeconfig(tmp_path / "kubeconfig"))) as both:
        both.start("watcher")
        watcher_world.await_(lambda: any(line["event"] == "waiting for the store" for line in both.lines()))
        both.start("store")

        both.await_watching()


def test_a_changed_configuration_makes_it_restart(tmp_path: Path) -> None:
    with watching(tmp_path) as (_, both, watcher):
        both.running[0].terminate()
        both.running[0].wait()
        (both.directory / "config.yaml").write_text(CONFIG + "annotation:\n  key: another.example.com/key\n")
        both.start("store")

        assert watcher.wait(watcher_world.PATIENCE_S) == 75


@pytest.mark.parametrize("kubeconfig", ["", "/does/not/exist"])
def test_without_credentials_it_logs_one_line_and_exits_with_the_configuration_code(kubeconfig: str) -> None:
    with processes(kubeconfig) as both:
        both.start("store")
        watcher = both.start("watcher")

        assert watcher.wait(watcher_world.PATIENCE_S) == 78
        problems = [line["problem"] for line in both.lines() if line["level"] == "error"]
        assert len(problems) == 1
        assert "KUBECONFIG" in problems[0]


def test_its_threads_send_heartbeats_while_it_waits_for_an_unreachable_api_server(tmp_path: Path) -> None:
    with api_server.running() as api:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
    with processes(str(kubeconfig)) as both:
        both.start("store")
        both.start("watcher")
        expected = {"scope.ConfigMap": "unreachable", "scope.Widget.example.com": "unreachable"}
        watcher_world.await_(lambda: both.states() == expected, explain=lambda: str(both.states()))
        hearts = both.directory / "beacon" / "heartbeat" / "watcher.main"
        first = hearts.read_bytes()

        watcher_world.await_(lambda: hearts.read_bytes() != first)
