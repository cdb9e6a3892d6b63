"""The wall clock of a complete Beacon jumps by an hour to 30 years; no event is late, early or misordered."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from beacon.dev import testkit
from tests.system import load, running

HOUR_S = 3600
DAY_S, YEARS_S = 24 * HOUR_S, 30 * 365 * 24 * HOUR_S
TO_1970_S = HOUR_S - int(time.time())
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
pytestmark = pytest.mark.needs("faketime")


class Wall:
    """The wall clock of a Beacon's processes; their monotonic clock is not affected."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.environ = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set(0)

    def set(self, off_s: int) -> None:
        """Set the offset of the clock."""
        made = self._path.with_suffix(".new")
        made.write_text(f"{off_s:+}s\n")
        made.replace(self._path)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path / "off")


def keeping(period: str) -> dict[str, Any]:
    return {
        "endpoint": {"retry": {"maxAttempts": 0, "initialBackoff": "4s", "maxBackoff": "4s"}},
        "retention": {"retentionPeriod": period, "cleanupInterval": "1s"},
    }


def until_accepted(all_: running.Everything, number: int) -> None:
    all_.sink.wait_for(lambda stats: stats.accepted == number, timeout=30)


def come_and_go(all_: running.Everything, name: str) -> None:
    before = all_.sink.stats().accepted
    all_.cluster.create("configmaps", annotated(name))
    until_accepted(all_, before + 1)
    all_.cluster.delete("configmaps", name)
    until_accepted(all_, before + 2)


def annotated(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: "x"}}}


def kept(all_: running.Everything, name: str) -> int:
    """Return the number of an object's events in the ledger of a stopped Beacon."""
    with closing(sqlite3.connect(f"file:{all_.beacon.environ['DB_PATH']}?mode=ro", uri=True)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM readable_events WHERE name = ?", (name,)).fetchone()[0])


def waiting(all_: running.Everything) -> float:
    return testkit.sample(all_.beacon.metrics(), "beacon_deliveries_pending", state="waiting")


def cleaned(all_: running.Everything) -> float:
    return testkit.sample(all_.beacon.metrics(), "beacon_clean_runs_total")


@pytest.mark.parametrize(
    "jumps",
    [(HOUR_S, 0), (-HOUR_S, 0), (DAY_S, YEARS_S, TO_1970_S, 0)],
    ids=["forward", "back", "far"],
)
def test_a_jump_delays_no_retry_and_removes_nothing_early(wall: Wall, jumps: tuple[int, ...]) -> None:
    with running.everything(changes=keeping("40m"), environ=wall.environ) as all_:
        come_and_go(all_, "gone")
        for number, off_s in enumerate(jumps):
            all_.sink.set(mode="failure", status=500)
            all_.cluster.create("configmaps", annotated(f"refused-{number}"))
            testkit.until(lambda: waiting(all_) == 1, "the pause before the next request", timeout=20)

            wall.set(off_s)
            all_.cluster.create("configmaps", annotated(f"later-{number}"))
            all_.sink.set(mode="success")

            until_accepted(all_, 4 + 2 * number)
            testkit.until(
                lambda number=number: len(all_.beacon.logged("wall clock set")) > number,  # type: ignore[misc]
                "the jump to be seen",
                timeout=20,
            )
        runs = cleaned(all_)
        testkit.until(lambda: cleaned(all_) >= runs + 2, "cleaning", timeout=20)

        all_.beacon.stop()
        assert kept(all_, "gone") == 2
        stats = all_.sink.stats()
        assert (stats.order_violations, stats.chain_gaps, stats.duplicates) == (0, 0, 0)


@pytest.mark.parametrize("off_s", [-HOUR_S, YEARS_S, TO_1970_S], ids=["hour", "30 years", "1970"])
def test_after_the_clock_is_set_new_events_are_kept_no_longer_than_usual(wall: Wall, off_s: int) -> None:
    with running.everything(changes=keeping("3s"), environ=wall.environ) as all_:
        wall.set(off_s)
        testkit.until(lambda: all_.beacon.logged("wall clock set"), "the jump to be seen", timeout=20)

        come_and_go(all_, "gone")

        testkit.until(
            lambda: testkit.sample(all_.beacon.metrics(), "beacon_clean_rows_total", table="events") == 2,
            "the old events to be removed",
            timeout=40,
        )
