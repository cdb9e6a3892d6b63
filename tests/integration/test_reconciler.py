"""The reconciler as supervisord starts it, with a real store: old rows are removed, the volume is measured."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from beacon import codec, errors
from beacon.exporter import scrape
from beacon.runtime import run_directory
from beacon.runtime.metric_files import files, sound
from tests.integration.processes import PATIENCE_S, wait_for
from tests.unit.store import world
from tests.unit.store.test_pruning import come_and_go

CONFIG = """
resources:
  - {apiVersion: v1, kind: ConfigMap}
endpoint: {url: "http://127.0.0.1:9/"}
retention: {cleanupInterval: 1h, retentionPeriod: 1h}
reconciliation: {enabled: false}
"""


class Pair:
    """A store and a reconciler in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir()
        self.database = self.data / "events.db"
        self.lines: list[dict[str, Any]] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, storage: str = "monitorInterval: 1s") -> None:
        config = self.directory / "beacon.yaml"
        config.write_text(f"{CONFIG}storage: {{{storage}}}\n")
        for name in ("store", "reconciler"):
            process = subprocess.Popen(
                [sys.executable, "-m", f"beacon.{name}"],
                env=os.environ
                | {
                    "BEACON_RUN_DIR": str(self.directory),
                    "CONFIG_PATH": str(config),
                    "DB_PATH": str(self.database),
                },
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            threading.Thread(target=self._read, args=(process.stdout,)).start()
            self.processes[name] = process

    def _read(self, out: IO[bytes]) -> None:
        with out:
            self.lines += (codec.decode(line) for line in out)

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == event]

    def figures(self) -> dict[str, float]:
        paths = files(run_directory.metrics_directory(self.directory / "beacon"), ["reconciler"])
        found = scrape.merge([path for path in paths if sound(path)])  # one that was just created is still empty
        return {sample.name: sample.value for family in found for sample in family.samples}

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        made = Pair(Path(name))
        yield made
        made.stop()


def fill(path: Path, objects: int) -> None:
    """Create a ledger whose events are years old and delivered, and whose objects are gone but for one."""
    store = world.World(path, updates=True)
    store.open()
    store.relist(10)
    store.observe(10, 11, world.seen("living", 11))
    for at in range(12, 12 + 2 * objects, 2):
        come_and_go(store, at=at, name=f"o{at}")
    store.deliver_all()
    store.ledger.close()


def test_old_rows_are_removed_and_the_file_shrinks(pair: Pair) -> None:
    fill(pair.database, 600)
    full = pair.database.stat().st_size

    pair.start()
    wait_for(lambda: pair.said("cleaned"), "a line that it has cleaned")

    (line,) = pair.said("cleaned")
    assert (line["level"], line["process"]) == ("info", "reconciler")
    assert line["rows"] == {"objects": 600, "events": 1200, "deliveries": 1200, "attempts": 1200, "gaps": 1}
    assert pair.database.stat().st_size < full / 4
    wait_for(lambda: pair.figures().get("beacon_volume_used_bytes"), "the volume to be measured")
    figures = pair.figures()
    assert figures["beacon_clean_rows_total"] > 0
    assert figures["beacon_volume_size_bytes"] > figures["beacon_volume_used_bytes"] > 0


def test_it_cleans_at_once_while_the_volume_is_critical(pair: Pair) -> None:
    pair.start("monitorInterval: 1s, warningThreshold: 0.0001, criticalThreshold: 0.0002")

    wait_for(lambda: pair.figures().get("beacon_clean_runs_total", 0) >= 3, "three runs, with an hour between them")

    said = [(line["level"], line["severity"]) for line in pair.said("storage pressure changed")]
    assert said.count(("error", "critical")) == len(said) <= 2  # of bytes, and where there are some, of inodes


def test_a_term_ends_it_at_once_in_the_middle_of_its_work(pair: Pair) -> None:
    fill(pair.database, 1000)
    pair.start()
    wait_for(lambda: pair.figures().get("beacon_clean_rows_total", 0), "the first rows to go")

    pair.processes["reconciler"].send_signal(signal.SIGTERM)

    assert pair.processes["reconciler"].wait(PATIENCE_S) == errors.EXIT_OK


def test_a_kill_nine_in_the_middle_of_its_work_loses_nothing(pair: Pair) -> None:
    fill(pair.database, 1000)
    pair.start()
    wait_for(lambda: pair.figures().get("beacon_clean_rows_total", 0), "the first rows to go")
    for process in pair.processes.values():
        process.kill()
        process.wait()

    pair.start()
    wait_for(lambda: pair.said("cleaned"), "the rest to go")
    pair.processes["store"].terminate()
    pair.processes["store"].wait(PATIENCE_S)

    left = world.World(pair.database)
    assert left.ledger.rows("SELECT name FROM readable_objects") == [("living",)]
    assert left.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    left.ledger.close()
