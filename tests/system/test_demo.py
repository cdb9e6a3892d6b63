"""`make run` as a user runs it: the tour, a real cluster, wrong input, and Ctrl-C at any moment."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.dev import testkit
from beacon.dev.api_server import remote
from tests.system import load
from tests.system.conftest import ANNOTATION

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
ROW = re.compile(
    r"^  \d\d:\d\d:\d\d\.\d{3}  (\S+) +(created|updated|deleted) +(\S+) +(\S+) +(\S*) +[0-9a-f]{8} +[\d.]+ m?s"
    r"(?!  answered)",
    re.MULTILINE,
)
REFUSED = re.compile(r"^  [\d:.]+  (\S+) +created +ConfigMap +(\S+) .*s  answered 401", re.MULTILINE)
BRONZE = [("created", "ConfigMap", f"default/{name}", "bronze") for name in ("first", "second", "third")]
TOUR = {
    "billing": [
        ("created", "ConfigMap", "default/settings", "gold"),
        ("created", "Deployment", "default/web", "silver"),
        ("updated", "ConfigMap", "default/settings", "platinum"),
        ("deleted", "Deployment", "default/web", "silver"),
        ("deleted", "ConfigMap", "default/settings", "platinum"),
        *BRONZE,  # refused at first
    ],
    "rollout": [
        ("created", "Deployment", "default/web", "silver"),
        ("deleted", "Deployment", "default/web", "silver"),
    ],
    "audit": [  # added after the update: it catches up
        ("created", "ConfigMap", "default/settings", "platinum"),
        ("created", "Deployment", "default/web", "silver"),
        ("deleted", "Deployment", "default/web", "silver"),
        ("deleted", "ConfigMap", "default/settings", "platinum"),
        *BRONZE,
    ],
}


class Demo:
    """A running demo, and its output so far."""

    def __init__(self, directory: Path, *options: str, environ: dict[str, str]) -> None:
        self.directory = directory
        self._mark = f"DEMO_OF_TEST={directory}".encode()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "beacon.dev.demo", *options],
            env=os.environ | {"TMPDIR": str(directory), "DEMO_OF_TEST": str(directory)} | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line

    def rows(self) -> list[tuple[str, ...]]:
        return ROW.findall(self.text)

    def rows_of(self) -> dict[str, list[tuple[str, ...]]]:
        """Return the rows of each endpoint; those of the catch-up and the restored ones sorted, since any is first."""
        got: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for name, *row in self.rows():
            got[name].append(tuple(row))
        got["audit"][:2] = sorted(got["audit"][:2])
        got["billing"][5:8] = sorted(got["billing"][5:8])
        return got

    def troubles(self) -> list[str]:
        """Return the lines that report a problem."""
        return [line for line in self.text.splitlines() if line.lstrip().startswith("!")]

    def until_said(self, text: str) -> None:
        testkit.until(lambda: text in self.text or self.process.poll() is not None, text, timeout=60)
        assert text in self.text, self.text

    def end(self) -> int:
        code = self.process.wait(300)
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def left(self) -> list[str]:
        """Return leftovers: processes of this run, and files in its directory."""
        return self.processes() + [path.name for path in self.directory.iterdir()]

    def processes(self) -> list[str]:
        """Return the pids of the processes with the marker variable of this run."""
        return [path.name for path in Path("/proc").glob("[0-9]*") if self._mark in _variables(path)]


def _variables(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@contextlib.contextmanager
def demo(*options: str, **environ: str) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="d") as name:
        running = Demo(Path(name), *options, environ=environ)
        try:
            yield running
        finally:
            running.process.kill()
            running.end()
            testkit.until(lambda: not running.processes(), "the end of all processes", timeout=60)


@pytest.fixture
def config(place: Path) -> Path:
    """Write a configuration for ConfigMaps on a free port, without an endpoint."""
    path = place / "beacon.yaml"
    port = {"port": testkit.free_port()}
    path.write_text(
        json.dumps({"resources": [{"apiVersion": "v1", "kind": "ConfigMap"}], "metrics": port, "health": port})
    )
    return path


def test_the_tour_shows_each_notification_once_and_cleans_up() -> None:
    with demo("--once") as it:
        assert it.end() == 0, it.text

        assert it.rows_of() == TOUR
        words = " ".join(it.text.split())
        assert {("billing", where) for _, _, where, _ in BRONZE} == set(REFUSED.findall(it.text))
        assert "Beacon has parked the endpoint billing (unauthorized)." in words
        assert "Nothing was lost: billing has got each of the 3 events, once." in words
        assert "billing selects everything, and got 8: created ConfigMap settings, created Deployment web, " in words
        assert "rollout selects Deployments, and got 2: created Deployment web, deleted Deployment web." in words
        assert "audit selects the types created and deleted, was added later, and got 7: created " in words
        assert "kubectl --kubeconfig" in it.text
        assert "/ready" in it.text
        troubles = [line for line in it.troubles() if "Not ready yet" not in line]  # a slow start prints it
        assert all("billing" in line for line in troubles), troubles
        assert it.left() == []


def test_manual_changes_are_shown_until_ctrl_c() -> None:
    with demo() as it:
        it.until_said("Ctrl-C ends it all.")
        of_tour = sum(map(len, TOUR.values()))
        commands = re.findall(r"^  (\S*kubectl .*)$", it.text, re.MULTILINE)
        for command in commands:
            words = command.replace("kubectl", str(testkit.SCRIPTS / "kubectl"), 1).split()
            subprocess.run(words, check=True, capture_output=True)
        status = re.search(r"^  (BEACON_RUN_DIR=.*)$", it.text, re.MULTILINE)
        assert status is not None
        assert "store" in subprocess.run(status[1], shell=True, check=False, capture_output=True, text=True).stdout
        testkit.until(lambda: len(it.rows()) == of_tour + 4, "two more rows of two endpoints", timeout=20)

        it.process.send_signal(signal.SIGINT)

        assert it.end() == 0
        by_hand = {name: [row[0] for row in rows[len(TOUR[name]) :]] for name, rows in it.rows_of().items()}
        assert by_hand == {"billing": ["created", "deleted"], "rollout": [], "audit": ["created", "deleted"]}
        assert it.left() == []


@pytest.mark.parametrize(("number", "seed"), [("INT", 1), ("INT", 2), ("INT", 3), ("TERM", 4), ("HUP", 5)])
def test_a_signal_at_any_moment_ends_it_and_everything_is_cleaned_up(number: str, seed: int) -> None:
    sent = signal.Signals[f"SIG{number}"]
    with demo() as it:
        it.until_said("Beacon without a cluster")
        load.pause(random.Random(seed), 0, 4)

        it.process.send_signal(sent)

        assert it.end() in (0, 128 + sent), it.text
        assert "Traceback" not in it.text
        assert it.left() == []


def test_a_second_ctrl_c_is_harmless() -> None:
    with demo() as it:
        it.until_said("Ctrl-C ends it all.")

        it.process.send_signal(signal.SIGINT)
        it.until_said("Stopping")
        it.process.send_signal(signal.SIGINT)

        assert it.end() == 0
        assert it.left() == []


def test_no_process_survives_a_kill_nine_of_the_demo() -> None:
    with demo() as it:
        it.until_said("Beacon runs under supervisord")

        it.process.kill()
        it.end()

        testkit.until(lambda: not it.processes(), "the end of all processes", timeout=30)


def test_it_ends_when_its_output_is_closed() -> None:
    with tempfile.TemporaryDirectory(prefix="d") as name:
        command = f"{sys.executable} -m beacon.dev.demo --once | head -n 1"
        environ = os.environ | {"TMPDIR": name}
        done = subprocess.run(
            command, shell=True, env=environ, capture_output=True, text=True, timeout=300, check=False
        )

        assert done.stdout.startswith("Beacon without a cluster")
        assert "Traceback" not in done.stderr
        testkit.until(lambda: not list(Path(name).iterdir()), "the removal of its directory", timeout=10)


def test_on_a_real_cluster_it_shows_the_events_and_only_reads(cluster: remote.Remote, config: Path) -> None:
    with demo("--config", str(config), "--kubeconfig", str(cluster.kubeconfig)) as it:
        it.until_said("Beacon is ready.")
        body = {"metadata": {"name": "a", "annotations": {ANNOTATION: "mine"}}}
        before = len(cluster.status()["requests"])
        cluster.request("POST", CONFIGMAPS, body)
        testkit.until(it.rows, "a row", timeout=20)
        it.process.send_signal(signal.SIGTERM)

        assert it.end() == 0
        assert it.rows() == [("default", "created", "ConfigMap", "default/a", "mine")]
        assert it.left() == []
    requests = cluster.status()["requests"]
    own = [request["verb"] for request in requests if request["verb"] == "create"]
    assert before > 0
    assert len(own) == 1  # the test's
    assert {request["verb"] for request in requests} <= {"get", "list", "watch", "create"}


def test_a_configured_endpoint_is_used_and_reported_if_unreachable(cluster: remote.Remote, config: Path) -> None:
    url = f"http://127.0.0.1:{testkit.free_port()}/events"
    cluster.request("POST", CONFIGMAPS, {"metadata": {"name": "a", "annotations": {ANNOTATION: "mine"}}})
    options = ("--config", str(config), "--kubeconfig", str(cluster.kubeconfig))
    with demo(*options, ENDPOINT_URL=url) as it:
        it.until_said(f"The endpoint {url} can't be reached from here (Connection refused).")
        it.until_said("1 changes found, 0 delivered, 1 waiting, 0 failed.")


def test_several_configured_endpoints_are_used(cluster: remote.Remote, config: Path) -> None:
    urls = {name: f"http://127.0.0.1:{testkit.free_port()}/events" for name in ("billing", "audit")}
    several = {"endpoints": [{"name": name, "url": url} for name, url in urls.items()]}
    config.write_text(json.dumps(json.loads(config.read_text()) | several))
    with demo("--config", str(config), "--kubeconfig", str(cluster.kubeconfig)) as it:
        for url in urls.values():
            it.until_said(f"The endpoint {url} can't be reached from here (Connection refused).")
        it.until_said("Beacon is ready.")


def test_an_unreachable_api_server_is_reported_and_retried(place: Path, config: Path) -> None:
    with remote.running(place) as gone:
        pass
    with demo("--config", str(config), "--kubeconfig", str(gone.kubeconfig)) as it:
        it.until_said("does not answer")  # the slow start and the watcher's report come in either order
        it.until_said("Not ready yet")

        assert "Traceback" not in it.text


def test_unreadable_files_are_reported_in_one_sentence_each(place: Path) -> None:
    with demo("--config", f"{place}/none.yaml", "--kubeconfig", f"{place}/none") as it:
        assert it.end() == 78

        assert it.text.splitlines() == [
            f"! The configuration {place}/none.yaml can't be read: No such file or directory.",
            f"! The kubeconfig {place}/none can't be read: No such file or directory.",
        ]


def test_a_wrong_configuration_is_refused_before_anything_starts(place: Path, config: Path) -> None:
    config.write_text("resources: [{apiVersion: v1, kindd: ConfigMap}]\n")
    (place / "kubeconfig").write_text("{}")
    with demo("--config", str(config), "--kubeconfig", f"{place}/kubeconfig") as it:
        assert it.end() == 78

        assert all(line.startswith("! resources[0].") for line in it.text.splitlines())


def test_a_port_in_use_is_reported(place: Path, config: Path) -> None:
    (place / "kubeconfig").write_text("{}")
    port = json.loads(config.read_text())["metrics"]["port"]
    with socket.socket() as taken:
        taken.bind(("", port))
        taken.listen()
        with demo("--config", str(config), "--kubeconfig", f"{place}/kubeconfig") as it:
            assert it.end() == 75

    assert f"Port {port} (health.port) is in use" in it.text
