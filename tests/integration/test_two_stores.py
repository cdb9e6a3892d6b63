"""Two real stores on one volume whose locks are always granted, as on a network file system without locks."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import bus, codec, errors, wire
from beacon.dev import testkit
from beacon.store.server import ownership
from tests.integration.test_store_process import CONFIG

# SQLite and `flock` grant every lock, each pod has its own kernel, and an owner is observed at shorter intervals: the
# test need not wait.
_WITHOUT_LOCKS = """
import fcntl, runpy, sys
import apsw
fcntl.flock = lambda *_: None
apsw.set_default_vfs("unix-none")
from beacon.store.ledger import clock
from beacon.store.server import ownership
clock.boot_id = lambda: sys.argv[2]
ownership._POLL_S = float(sys.argv[1])
runpy.run_module("beacon.store", run_name="__main__", alter_sys=True)
"""


class Pod:
    """A pod with a run directory of its own; its stores use the shared volume one after another."""

    def __init__(self, volume: Path, name: str) -> None:
        self.volume, self.run_dir = volume, volume.parent / name
        self.run_dir.mkdir()
        self.config = self.run_dir / "beacon.yaml"
        self.config.write_text(CONFIG)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *, poll_s: float = 0.5, kernel: str = "") -> subprocess.Popen[str]:
        environ = {
            "BEACON_RUN_DIR": str(self.run_dir),
            "CONFIG_PATH": str(self.config),
            "DB_PATH": str(self.volume / "events.db"),
        }
        command = [sys.executable, "-c", _WITHOUT_LOCKS, str(poll_s), kernel or self.run_dir.name]
        self.started.append(subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.PIPE, text=True))
        return self.started[-1]

    def serves(self) -> bool:
        """Return True if its store has opened the ledger."""
        with bus.Client(bus.address(self.run_dir / "beacon"), stop=threading.Event()) as client:
            return client.call(wire.Ping()).state == "ready"

    def ended(self) -> tuple[int, list[dict[str, object]]]:
        out, _ = self.started[-1].communicate(timeout=100)
        return self.started[-1].returncode, [codec.decode(line) for line in out.splitlines()]


@pytest.fixture
def pods() -> Iterator[tuple[Pod, Pod]]:
    with tempfile.TemporaryDirectory(prefix="beacon-") as name:
        volume = Path(name) / "data"
        volume.mkdir()
        found = Pod(volume, "one"), Pod(volume, "two")
        yield found
        for process in (process for pod in found for process in pod.started):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_the_second_store_refuses_to_start_in_one_sentence(pods: tuple[Pod, Pod]) -> None:
    one, two = pods
    one.start()
    testkit.until(one.serves, "the first store to serve", timeout=60)

    two.start()
    code, lines = two.ended()

    reasons = [line["reason"] for line in lines if line["event"] == "failed"]
    assert code == errors.EXIT_TEMPORARY
    assert len(reasons) == 1
    assert f"uses the database directory {one.volume}: run one replica" in str(reasons[0])
    assert not any(line["event"] == "serving" for line in lines)
    assert one.serves()

    one.started[-1].kill()
    one.started[-1].wait()
    one.start()
    testkit.until(one.serves, "the store of the same pod to serve at once", timeout=60)
    one.started[-1].send_signal(signal.SIGTERM)
    code, lines = one.ended()
    assert code == errors.EXIT_OK
    assert not any(line["event"] == "waiting for the previous owner" for line in lines)
    assert not (one.volume / ownership.FILE).exists()


def test_a_store_that_stood_still_ends_without_writing_after_another_took_over(pods: tuple[Pod, Pod]) -> None:
    one, two = pods
    stopped = one.start()
    testkit.until(one.serves, "the first store to serve", timeout=60)
    stopped.send_signal(signal.SIGSTOP)

    two.start(poll_s=0.02)
    testkit.until(two.serves, "the second store to take over", timeout=60)
    before = (one.volume / "events.db").read_bytes(), (one.volume / "events.db-wal").stat().st_size
    stopped.send_signal(signal.SIGCONT)
    code, lines = one.ended()

    assert code == errors.EXIT_TEMPORARY
    assert "has taken over the database directory" in str([line for line in lines if line["event"] == "failed"])
    assert ((one.volume / "events.db").read_bytes(), (one.volume / "events.db-wal").stat().st_size) == before
    assert two.serves()
    two.started[-1].send_signal(signal.SIGTERM)
    code, lines = two.ended()
    assert code == errors.EXIT_OK
    assert len([line for line in lines if line["event"] == "waiting for the previous owner"]) == 1


def test_a_pod_that_replaces_a_killed_one_on_its_node_starts_at_once(pods: tuple[Pod, Pod]) -> None:
    one, two = pods
    one.start(kernel="node")
    testkit.until(one.serves, "the first store to serve", timeout=60)
    one.started[-1].kill()
    one.started[-1].wait()

    two.start(kernel="node")
    testkit.until(two.serves, "the second store to serve", timeout=60)

    two.started[-1].send_signal(signal.SIGTERM)
    code, lines = two.ended()
    assert code == errors.EXIT_OK
    assert not any(line["event"] == "waiting for the previous owner" for line in lines)
