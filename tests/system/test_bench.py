"""`make bench` measures every row, tested with a miniature whose results are meaningless."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from beacon.dev.api_server import remote
from tests.bench import measurements, rows

ROOT = Path(__file__).parents[2]
QUICK = (
    "memory",
    "loop",
    "disk",
    "sink",
    "steady",
    "hundred",
    "thousand",
    "twothousand",
    "burst",
    "returned",
    "idle",
    "outage",
    "added",
    "churn",
    "capacity",
)
MANY_STARTS = ("backlog", "restart", "million", "slow", "biglist", "scopes")
SEVERAL = ("down", "catchup", "catchupbeside", "endpoints")
LEFT_OUT = {"killed", "listed", "prune", "redeliver", "scrape"}  # rows without a target


def bench(*words: str, environ: Mapping[str, str] | None = None) -> tuple[str, str]:
    command = [sys.executable, "-m", "tests.bench", "--runs", "1", "--miniature", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1000, env={**os.environ, **(environ or {})}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def measured(path: Path, *which: str) -> tuple[dict[str, list[float]], str]:
    shown, _ = bench(*which, "--json", str(path), "--documented")
    return json.loads(path.read_text()), shown


@pytest.mark.parametrize("which", [QUICK, MANY_STARTS, SEVERAL], ids=["quick", "many starts", "several"])
def test_every_row_is_measured_printed_and_compared(which: tuple[str, ...], tmp_path: Path) -> None:
    found, shown = measured(tmp_path / "found.json", *which)

    assert all(len(figures) == 1 and math.isfinite(figures[0]) for figures in found.values())
    assert {row for row in rows.AIMED if row in found} == {row for row in rows.AIMED if group(row) in which}
    for row, (figure,) in found.items():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{row}  ")]
        assert line.removeprefix(row).split()[:3] == [f"{figure:.2f}"] * 3


def test_every_measurement_is_tested_or_listed_as_left_out() -> None:
    assert {*QUICK, *MANY_STARTS, *SEVERAL} == set(measurements.ALL) - LEFT_OUT
    assert {group(row) for row in rows.AIMED} <= {*QUICK, *MANY_STARTS, *SEVERAL, *LEFT_OUT}


def test_a_real_cluster_is_used_through_its_api_and_cleaned_up(place: Path) -> None:
    with remote.running(place) as cluster:
        words = ("thousand", "listed", "--json", str(place / "found.json"), "--profile", str(place / "profile"))
        shown, messages = bench(*words, environ={"BEACON_TEST_KUBECONFIG": str(cluster.kubeconfig)})
        namespaces = cluster.request("GET", "/api/v1/namespaces")["items"]

    assert math.isfinite(json.loads((place / "found.json").read_text())["1000/s, p99, ms"][0])
    assert "listed is skipped: it compacts" in messages
    assert not [one for one in namespaces if one["metadata"]["name"].startswith("beacon-bench-")]
    for process in ("store", "notifier", "watcher", "supervisord"):
        assert f"\n{process}: " in shown
    assert " beacon/" in shown


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """Copy this checkout; each of its processes appends its name to the file `began`."""
    copy = tmp_path / "another"
    for name in ("beacon", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "supervisord.conf", copy)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    with (copy / "beacon" / "__init__.py").open("a") as code:
        code.write(f"import sys\nopen({str(copy / 'began')!r}, 'a').write(' '.join(sys.orig_argv) + '\\n')\n")
    return copy


def test_another_checkout_is_measured_in_alternating_runs_by_this_harness(another: Path) -> None:
    shown, messages = bench("burst", "redeliver", "--against", str(another), "--json", str(another / "found.json"))

    found = json.loads((another / "found.json").read_text())
    turns = [line.split(" ...")[0] for line in messages.splitlines() if ", pair " in line]
    began = (another / "began").read_text()
    assert turns == [f"{row}, pair 1 of 1, {build}" for row in ("burst", "redeliver") for build in ("other", "this")]
    assert set(found["this"]) == set(found["other"]) >= {"burst of 2000 at 900/s, p99, ms", "redelivered a second"}
    assert set(found["machine"]) == {
        "loop of 10 M additions, s",
        "fsync of 4 KiB, us",
        "sink, requests/s that it takes",
    }
    assert {name for name in ("store", "notifier", "watcher") if f"-m beacon.{name}" in began} == {
        "store",
        "notifier",
        "watcher",
    }
    assert "-m tests.bench redeliver" in began  # the build's own harness measures the rows that call the store
    (line,) = [line for line in shown.splitlines() if line.startswith("redelivered a second  ")]
    times = found["this"]["redelivered a second"][0] / found["other"]["redelivered a second"][0]
    assert line.split()[-4:] == [*[f"{times:.2f}"] * 3, "1"]


def group(row: str) -> str:
    """Return the measurement that produces a row."""
    return next(name for beginning, name in GROUPS.items() if row.startswith(beginning))


GROUPS = {
    "backlog of 5000 at start": "backlog",
    "CPU s per 1000 of the backlog at start": "backlog",
    "backlog of 5000 when the endpoint returns": "returned",
    "burst": "burst",
    "steady 17/s": "steady",
    "100/s": "hundred",
    "1000/s": "thousand",
    "CPU s per 1000 at 1000/s": "thousand",
    "2000/s": "twothousand",
    "endpoint of 50 ms": "slow",
    "idle": "idle",
    "outage": "outage",
    "PSS with nothing": "memory",
    "start to ready, empty": "memory",
    "PSS added": "added",
    "5000 unannotated/s": "churn",
    "capacity": "capacity",
    "list of 150,000": "biglist",
    "200 scopes": "scopes",
    "1,000,000 events": "million",
    "start to ready, 5000": "restart",
    "clean restart": "restart",
    "watcher, 20,000": "listed",
    "write while 100,000 are pruned": "prune",
    "write while 100,000 are redelivered": "redeliver",
    "scrape": "scrape",
    "one of three endpoints down": "down",
    "catch-up of 100,000 objects, ": "catchup",
    "catch-up of 100,000 objects beside": "catchupbeside",
    "two endpoints": "endpoints",
}
