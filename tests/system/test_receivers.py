"""The example receiver and the commands of docs/receivers.md, with a real Beacon."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.dev import testkit
from tests.system import load, running

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/receiver.py"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/receivers.md").read_text(), re.MULTILINE | re.DOTALL)


class Receiver:
    """The example receiver, at the same port across restarts."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "received.db"
        self.port = testkit.free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        port = str(self.port)
        command = [sys.executable, str(EXAMPLE), "serve", "--database", str(self.database), "--port", port, *options]
        log = self.database.with_suffix(".log")
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        testkit.until(lambda: "listening" in log.read_text(), "the receiver", timeout=20)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def ask(self, command: str) -> tuple[int, list[str]]:
        given = [sys.executable, str(EXAMPLE), command, "--database", str(self.database)]
        done = subprocess.run(given, capture_output=True, text=True, check=False)
        assert not done.stderr
        return done.returncode, done.stdout.splitlines()

    def count(self, table: str) -> int:
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path)
    yield made
    made.kill()


def alive(histories: dict[str, list[str]]) -> set[str]:
    return {f"/ConfigMap/{load.NAMESPACE}/{name}" for name, history in histories.items() if history[-1] != "deleted"}


def test_the_example_knows_the_existing_objects_after_kills_of_both_ends(receiver: Receiver, tmp_path: Path) -> None:
    receiver.start()
    url = f"http://127.0.0.1:{receiver.port}/"
    with running.everything(changes={"endpoint": {"url": url}}) as all_of_it:
        with load.Load(all_of_it.cluster, seed=7, pause_s=0.01) as changing:
            testkit.until(lambda: receiver.count("events") > 40, "events", timeout=20)
            receiver.kill()
            testkit.until(lambda: changing.changes > 200, "changes during an outage", timeout=20)
            receiver.start()
            testkit.until(lambda: receiver.count("events") > 150, "events again", timeout=20)
            all_of_it.beacon.kill("notifier")
            testkit.until(lambda: changing.changes > 400, "changes", timeout=20)
        expected = sum(len(history) for history in changing.expected.values())
        testkit.until(lambda: receiver.count("events") == expected, f"all {expected} events", timeout=30)

        assert receiver.ask("check") == (0, ["no event is missing"])
        assert {line.split()[0] for line in receiver.ask("list")[1]} == alive(changing.expected)

        environ = os.environ | {"KUBECONFIG": str(all_of_it.cluster.kubeconfig(tmp_path / "kubeconfig"))}
        compared = shell(BLOCKS[1], tmp_path, environ)
        assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")

        name = min(alive(changing.expected)).rpartition("/")[2]
        receiver.kill()
        all_of_it.cluster.annotate("configmaps", name, {load.ANNOTATION: None}, namespace=load.NAMESPACE)
        assert shell(BLOCKS[1], tmp_path, environ).returncode == 1


def test_the_example_reports_the_refused_event(receiver: Receiver, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("other\n")
    receiver.start("--token-file", str(token))
    url = f"http://127.0.0.1:{receiver.port}/"
    with running.everything(changes={"endpoint": {"url": url}}) as all_of_it:
        cluster, beacon = all_of_it.cluster, all_of_it.beacon

        cluster.create(
            "configmaps", {"metadata": {"name": "a", "annotations": {load.ANNOTATION: "1"}}}, namespace="default"
        )
        testkit.until(
            lambda: testkit.sample(beacon.metrics(), "beacon_deliveries_failed") == 1, "the refusal", timeout=20
        )
        receiver.kill()
        receiver.start()
        cluster.annotate("configmaps", "a", {load.ANNOTATION: "2"}, namespace="default")
        testkit.until(lambda: receiver.count("events") == 1, "the next event", timeout=20)

        assert receiver.ask("check") == (1, ["missing: event 1 of /ConfigMap/default/a"])


def test_the_example_keeps_no_object_of_a_test_event(receiver: Receiver, tmp_path: Path) -> None:
    receiver.start()
    with running.everything(changes={"endpoint": {"url": f"http://127.0.0.1:{receiver.port}/"}}) as whole:
        command = [sys.executable, "-m", "beacon.cli", "test-event"]

        sent = subprocess.run(command, env=whole.beacon.environ, capture_output=True, text=True, check=False)

    assert sent.stdout.startswith("Accepted: 204"), sent
    assert receiver.ask("list") == (0, [])
    assert receiver.ask("check") == (0, ["no event is missing"])
    assert receiver.count("events") == 0


def test_the_commands_of_the_page_have_the_described_effect(tmp_path: Path) -> None:
    done = shell(BLOCKS[0].replace("8089", str(testkit.free_port())), tmp_path, dict(os.environ))

    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in said[1:]] == [
        "applied",
        "repeated",
        "applied",
        "missing:",
        "incomplete",
        "late",
        "no",
    ]


def shell(text: str, directory: Path, environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run commands of the page in a directory with docs/; no process that they start outlives them."""
    if not (directory / "docs").exists():
        (directory / "docs").symlink_to(ROOT / "docs")
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    command = ["bash", "-e", "-o", "pipefail", "-c", text]
    process = subprocess.Popen(
        command, cwd=directory, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
