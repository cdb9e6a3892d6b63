"""The whole Beacon: scheduled backups, a reload, and a restore by the documented command, one after another."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.dev import testkit
from beacon.store.recovery import verification
from tests.system import load, running


def annotated(name: str, value: str = "true") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: value}}}


def beacon(whole: running.Everything, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beacon.cli", *arguments]
    return subprocess.run(command, env=whole.beacon.environ, capture_output=True, text=True, check=False, timeout=120)


def status(whole: running.Everything) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(beacon(whole, "status", "-o", "json").stdout)
    return shown


def delivered(whole: running.Everything) -> list[tuple[str, str, str, str]]:
    """Return the name, type, id and ledger of each event that was delivered, in order."""
    return [
        (each.event.name, each.event.type.rpartition(".")[2], each.event.id, each.event.ledger)
        for each in whole.sink.events()
        if each.event
    ]


def metric(whole: running.Everything, name: str) -> float:
    return testkit.sample(whole.beacon.metrics(), name)


@pytest.fixture(scope="module")
def backups() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def whole(backups: Path) -> Iterator[running.Everything]:
    changes = {"backup": {"interval": "1s", "keep": 2, "path": str(backups)}}
    with running.everything(changes=changes) as made:
        mounted(made.beacon.config_path)
        yield made


def mounted(path: Path) -> None:
    """Turn the configuration file into one of a mounted ConfigMap."""
    (path.parent / "..v0").mkdir()
    path.rename(path.parent / "..v0" / path.name)
    (path.parent / "..data").symlink_to("..v0")
    path.symlink_to(Path("..data", path.name))


@contextlib.contextmanager
def frozen_volume(whole: running.Everything) -> Iterator[None]:
    """Stop the process that uses the backup volume, as one that waits for NFS."""
    stopped: list[int] = []

    def stop() -> bool:
        for pid in whole.beacon.living():
            with contextlib.suppress(OSError):
                if b"beacon.reconciler.backup_volume" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGSTOP)
                    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                        stopped.append(pid)
        return bool(stopped)

    testkit.until(stop, "the process that uses the backup volume", timeout=60)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def replaced(path: Path, **changes: Any) -> None:
    """Change the mounted ConfigMap, as the kubelet does: in a new directory, to which a link is moved."""
    config = json.loads(path.read_text()) | changes
    number = len(list(path.parent.glob("..v*")))
    made = path.parent / f"..v{number}"
    made.mkdir()
    (made / path.name).write_text(json.dumps(config))
    link = path.parent / "..data_tmp"
    link.symlink_to(made.name)
    link.replace(path.parent / "..data")


def test_backups_are_made_on_schedule_and_a_kill_disturbs_neither_them_nor_the_schedule(
    whole: running.Everything, backups: Path
) -> None:
    def made() -> list[Path]:
        return sorted(backups.glob("beacon-*.db"))

    whole.cluster.create("configmaps", annotated("first"))
    whole.sink.wait_for(lambda stats: stats.distinct >= 1)
    testkit.until(lambda: made() and made()[-1].name > "beacon-00000003", "three backups", timeout=60)
    leftover = backups / "beacon-00000099-20260101T000000Z.db.unfinished"
    leftover.write_text("of a killed process")
    staged = Path(whole.beacon.environ["DB_PATH"] + ".backup-unfinished-killed")
    staged.write_text("of a killed process")
    whole.beacon.kill("reconciler", signal.SIGKILL)
    last = made()[-1].name
    testkit.until(lambda: made()[-1].name > last and not leftover.exists(), "the next backup", timeout=60)
    testkit.until(lambda: not staged.exists(), "what is left beside the ledger to be removed", timeout=60)
    whole.beacon.wait_ready()
    testkit.until(lambda: metric(whole, "beacon_backup_last_success_timestamp_seconds") > 0, "the metrics", timeout=30)

    with frozen_volume(whole):
        whole.cluster.create("configmaps", annotated("meanwhile"))
        whole.sink.wait_for(lambda stats: stats.distinct >= 2)
        assert whole.beacon.wait_ready()["checks"]["reconciler"]["ok"]
        newest = made()[-1].name
    testkit.until(lambda: made()[-1].name > newest, "a backup after the volume answers again", timeout=60)

    (part,) = [one for one in status(whole)["components"] if one["component"] == "backup"]
    assert part["file"] >= last
    assert metric(whole, "beacon_backup_interval_seconds") == 1.0
    assert whole.beacon.ready()["checks"]["backup"]["ok"]
    # A copy that is being made can be removed as one of the oldest before it is checked here.
    replaced(whole.beacon.config_path, backup={"interval": "1h", "keep": 2, "path": str(backups)})
    assert beacon(whole, "reload").returncode == errors.EXIT_OK
    whole.beacon.wait_ready()
    assert len(made()) == 2
    assert [list(verification.findings(one)) for one in made()] == [[], []]


def test_a_reload_applies_a_valid_file_and_refuses_another(whole: running.Everything) -> None:
    path, before = whole.beacon.config_path, whole.beacon.pids()["store"]
    valid = json.loads(path.read_text())

    nothing = beacon(whole, "reload")
    replaced(path, endpoint=valid["endpoint"] | {"timeout": "soon"})
    refused = beacon(whole, "reload")
    testkit.until(lambda: metric(whole, "beacon_config_last_reload_successful") == 0, "the metric", timeout=30)
    unchanged = whole.beacon.pids()["store"]
    replaced(path, endpoint=valid["endpoint"] | {"timeout": "7s", "headers": {"X-Key": "secret"}})
    applied = beacon(whole, "reload", "-o", "json")
    whole.beacon.wait_ready()
    testkit.until(lambda: metric(whole, "beacon_config_last_reload_successful") == 1, "the metric", timeout=30)

    assert (nothing.returncode, nothing.stdout) == (errors.EXIT_OK, f"{path}: nothing has changed\n")
    assert (refused.returncode, refused.stdout) == (errors.EXIT_CONFIG, "")
    assert refused.stderr.startswith("endpoint.timeout: 'soon' ")
    assert unchanged == before
    assert applied.returncode == errors.EXIT_OK, applied.stderr
    assert json.loads(applied.stdout)["changes"] == ["endpoint.timeout 30s -> 7s", "endpoint.headers.X-Key added"]
    assert whole.beacon.pids()["store"] != before
    whole.cluster.create("configmaps", annotated("reloaded"))
    testkit.until(lambda: "secret" in sent_keys(whole), "an event under the new configuration", timeout=30)


def sent_keys(whole: running.Everything) -> set[str]:
    return {each.request.header("X-Key") for each in whole.sink.attempts()}


@pytest.mark.parametrize("history", ["kept", "compacted"])
def test_what_was_delivered_after_a_backup_is_repeated_recognizably_or_compared(
    whole: running.Everything, backups: Path, history: str
) -> None:
    copy = backups / f"{history}.db"
    testkit.until(lambda: settled(whole), "everything to be delivered", timeout=30)
    assert beacon(whole, "backup", str(copy)).returncode == errors.EXIT_OK
    names = [f"{history}-stays", f"{history}-goes"]
    for name in names:
        whole.cluster.create("configmaps", annotated(name))
    testkit.until(lambda: {name for name, *_ in delivered(whole)} >= set(names), "both objects", timeout=30)
    whole.cluster.delete("configmaps", names[1])
    testkit.until(lambda: (names[1], "deleted") in {one[:2] for one in delivered(whole)}, "the deletion", timeout=30)
    testkit.until(lambda: settled(whole), "everything to be settled", timeout=30)
    first = [one for one in delivered(whole) if one[0] in names]
    if history == "compacted":
        whole.cluster.faults.compact()

    done = beacon(whole, "restore", "--restart-store", str(copy))
    assert (done.returncode, done.stderr) == (errors.EXIT_OK, "")
    whole.beacon.wait_ready()
    testkit.until(lambda: len([one for one in delivered(whole) if one[0] == names[0]]) == 2, "a repeat", timeout=30)

    again = [one for one in delivered(whole) if one[0] in names][len(first) :]
    assert {one[3] for one in again}.isdisjoint({one[3] for one in first}), "another ledger"
    gaps = {gap["reason"]: gap for gap in status(whole)["gaps"]}
    assert gaps["restored"]["certainty"] == "unknown"
    if history == "kept":
        testkit.until(lambda: len([one for one in delivered(whole) if one[0] in names]) == 6, "all repeats", timeout=30)
        again = [one for one in delivered(whole) if one[0] in names][len(first) :]
        assert sorted(one[:3] for one in again) == sorted(one[:3] for one in first), "the same ids"
    else:
        assert [one[:3] for one in again] == [one[:3] for one in first if one[0] == names[0]]
        assert gaps["expired"]["differences"] == 1
    assert any("a gap (restored)" in sentence for sentence in status(whole)["wrong"])
    ledger = Path(whole.beacon.environ["DB_PATH"])
    aside = sorted(ledger.parent.glob("events.db.replaced*"))[-1]
    assert f"the previous ledger is {aside}" in done.stdout
    assert list(verification.findings(aside)) == []
    copy.unlink()


def settled(whole: running.Everything) -> bool:
    (one,) = status(whole)["deliveries"]
    return not any(one[state] for state in ("ready", "waiting", "queued", "inFlight"))
