"""A volume that is filled completely while Beacon uses it: no new events are accepted, and none are lost."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import codec, errors
from beacon.dev import testkit
from tests.gate import needs
from tests.system import load, running

SIZE = "24m"
CONFIG = {"storage": {"reserve": "4Mi", "monitorInterval": "1s"}}


@contextlib.contextmanager
def small_volume() -> Iterator[Path]:
    needs.require("mount")
    with tempfile.TemporaryDirectory(prefix="bv") as name:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def fill(volume: Path) -> Path:
    """Fill the volume completely."""
    path = volume / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return path


def free_bytes(volume: Path) -> int:
    found = os.statvfs(volume)
    return found.f_bavail * found.f_frsize


def create(whole: running.Everything, first: int, count: int) -> None:
    for number in range(first, first + count):
        metadata = {"name": f"o{number}", "namespace": "default", "annotations": {load.ANNOTATION: "true"}}
        whole.cluster.create("configmaps", {"metadata": metadata})


def test_a_full_volume_stops_only_the_intake() -> None:
    with (
        small_volume() as volume,
        running.everything(changes=CONFIG, environ={"DB_PATH": str(volume / "events.db")}) as whole,
    ):
        whole.sink.stop()
        create(whole, 0, 50)
        testkit.until(
            lambda: testkit.sample(whole.beacon.metrics(), "beacon_events_total") >= 50,
            "events to be written",
            timeout=20,
        )
        pids = whole.beacon.pids()
        filler = fill(volume)
        assert free_bytes(volume) == 0

        create(whole, 50, 50)
        testkit.until(
            lambda: testkit.sample(whole.beacon.metrics(), "beacon_db_errors_total", error="full"),
            "a refusal",
            timeout=20,
        )
        whole.sink.start()
        whole.sink.wait_for(lambda stats: stats.distinct == 50, timeout=30)  # committed events are delivered
        testkit.until(
            lambda: testkit.sample(whole.beacon.metrics(), "beacon_deliveries_pending") == 0, "settlements", timeout=20
        )
        assert testkit.sample(whole.beacon.metrics(), "beacon_events_total") == 50
        assert whole.beacon.pids() == pids, "a process has ended"

        filler.unlink()
        stats = whole.sink.wait_for(lambda stats: stats.distinct == 100, timeout=30)

        assert (stats.duplicates, stats.order_violations) == (0, 0)
        assert whole.beacon.pids() == pids


def test_a_read_only_volume_is_reported_in_one_sentence_with_an_exit_code() -> None:
    with small_volume() as volume, tempfile.TemporaryDirectory(prefix="br") as run_dir:
        config = Path(run_dir) / "beacon.yaml"
        config.write_text("resources: [{apiVersion: v1, kind: ConfigMap}]\nendpoint: {url: 'http://127.0.0.1:1/'}\n")
        subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
        environ = {"BEACON_RUN_DIR": run_dir, "CONFIG_PATH": str(config), "DB_PATH": str(volume / "events.db")}

        done = subprocess.run(
            [sys.executable, "-m", "beacon.store"],
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    assert done.returncode == errors.EXIT_CANNOT_CREATE
    said = [codec.decode(line) for line in done.stdout.splitlines()]
    (line,) = [line for line in said if line["level"] == "error"]
    assert "Read-only file system" in line["reason"] or "not writable" in line["reason"]
    assert "Traceback" not in done.stdout + done.stderr
