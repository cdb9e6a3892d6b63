"""Scheduled backups on a real ledger and a real directory: checked, atomic, and only the newest ones are kept."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.reconciler import backup_names, backup_volume, backups
from beacon.runtime import metrics
from beacon.store.recovery import verification
from tests.unit import volumes
from tests.unit.store import world

DAY_S = 86_400.0
NOW_S = 1_700_000_000.0  # 2023-11-14T22:13:20Z
FIRST, SECOND = "beacon-00000001-20231114T221320Z.db", "beacon-00000002-20231115T221320Z.db"


class Place:
    """A served ledger, a directory for backups, and what was reported."""

    def __init__(self, directory: Path) -> None:
        self.data, self.path = directory / "data", directory / "backups"
        for each in (self.data, self.path):
            each.mkdir(exist_ok=True)
        self.store = world.World(self.data / "e.db")
        self.store.open()
        self.store.relist(10, world.seen("a", 5))
        self.stop = threading.Event()
        self.states: list[Mapping[str, object]] = []
        self.now_s = NOW_S
        self.asked: list[wire.AnyRequest] = []

    def call(self, request: wire.AnyRequest) -> Any:
        self.asked.append(request)
        reply = self.store.ask(request)
        if isinstance(reply, wire.Refused):
            raise errors.PermanentError(reply.message)
        return reply

    def scheduled(self, *, keep: int = 3, path: Path | None = None, **changes: Any) -> backups.ScheduledBackups:
        deps = backups.BackupDependencies(
            stop=self.stop,
            beat=lambda: None,
            report=lambda _name, state: self.states.append(state),
            wall=lambda: self.now_s,
            **changes,
        )
        config = settings.BackupSettings(interval_s=DAY_S, keep=keep, path=str(path or self.path))
        return backups.ScheduledBackups(config, settings.Storage(db_path=str(self.data / "e.db")), deps)

    def make(self, **changes: Any) -> None:
        self.scheduled(**changes).make(self.call)

    def names(self) -> list[str]:
        return sorted(one.name for one in self.path.iterdir())

    def left(self) -> list[str]:
        return [one.name for one in self.data.iterdir() if "backup" in one.name]


@pytest.fixture
def place(tmp_path: Path) -> Any:
    made = Place(tmp_path)
    yield made
    made.store.ledger.close()


def test_a_backup_is_a_checked_copy_of_mode_0600(place: Place) -> None:
    place.make()

    assert place.names() == [FIRST]
    assert (place.path / FIRST).stat().st_mode & 0o777 == 0o600
    assert list(verification.findings(place.path / FIRST)) == []
    assert place.left() == []
    assert [state["state"] for state in place.states] == ["running", "waiting"]
    assert (place.states[-1]["file"], place.states[-1]["made_us"]) == (FIRST, NOW_S * 1e6)
    assert metrics.BACKUP_LAST_SIZE._value.get() == (place.path / FIRST).stat().st_size
    assert metrics.BACKUP_LAST_SUCCESS_TIMESTAMP._value.get() == NOW_S


def test_the_newest_are_kept_by_their_number_whatever_the_clock_says(place: Place) -> None:
    others = ["events.db", "beacon-1-20231114T221320Z.db", "beacon-00000009.db", f"{FIRST}.old", f"x{FIRST}"]
    for name in others:
        (place.path / name).write_text("of another")
    for day in (0.0, 365.0, -365.0, -10.0):
        place.now_s = NOW_S + day * DAY_S
        place.make(keep=2)

    kept = [name for name in place.names() if name not in others]
    assert kept == ["beacon-00000003-20221114T221320Z.db", "beacon-00000004-20231104T221320Z.db"]
    assert set(others) <= set(place.names())


@pytest.mark.parametrize(
    ("age_s", "due_s"),
    [(0.0, DAY_S), (3600.0, DAY_S - 3600), (DAY_S, 0.0), (40 * DAY_S, 0.0), (-1.0, 0.0), (-400 * DAY_S, 0.0)],
    ids=["just made", "an hour ago", "a day ago", "the clock was set forward", "set back a little", "set back a year"],
)
def test_a_new_process_continues_the_schedule(place: Place, age_s: float, due_s: float) -> None:
    """A pod that restarts every hour with an interval of a day makes one a day."""
    place.make()
    place.now_s += age_s

    assert place.scheduled().find_due_s() == due_s


def test_without_a_backup_one_is_due(place: Place) -> None:
    assert place.scheduled().find_due_s() == 0.0


def test_what_a_killed_process_left_is_removed_and_nothing_else(place: Place) -> None:
    place.make()
    staged = place.data / "e.db.backup-unfinished-1"
    staged.write_text("half")
    unfinished = backup_names.unfinished_name(SECOND)
    (place.path / unfinished).write_text("half")
    (place.path / "mine.unfinished").write_text("of another")

    scheduled = place.scheduled()
    scheduled.find_due_s()
    scheduled.remove_staged()

    assert place.names() == [FIRST, "mine.unfinished"]
    assert place.left() == []
    place.now_s += DAY_S
    place.make()
    assert place.names() == [FIRST, SECOND, "mine.unfinished"]


def test_a_kill_in_the_middle_of_the_copy_leaves_the_older_ones(place: Place) -> None:
    """The process that writes to the volume is killed at its first, second, ... line of progress."""
    place.make()
    source = place.data / "copy.db"
    while place.call(wire.Backup(target=str(source))).left:
        pass
    with source.open("ab") as file:
        file.truncate(30 * 1024 * 1024)
    command = [sys.executable, "-m", "beacon.reconciler.backup_volume", "store", str(place.path), str(source), "3"]

    for lines in range(1, 6):
        run = subprocess.Popen([*command, str(NOW_S + DAY_S)], stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        for _ in range(lines):
            run.stdout.readline()
        run.kill()
        assert run.wait() == -signal.SIGKILL
        run.stdout.close()
        assert set(place.names()) <= {FIRST, backup_names.unfinished_name(SECOND)}, lines

    place.now_s += DAY_S
    place.make()
    assert place.names() == [FIRST, SECOND]
    assert list(verification.findings(place.path / SECOND)) == []


def test_a_full_backup_volume_keeps_the_older_ones(place: Place, tmp_path: Path) -> None:
    with volumes.mounted(tmp_path / "small", 2 * volumes.MIB) as small:
        place.path = small.path
        place.make()
        ledger = (place.data / "e.db").read_bytes()
        size = (small.path / FIRST).stat().st_size
        small.fill(leave=size // 2)
        place.now_s += DAY_S

        with pytest.raises(backups.BackupFailed, match=f"bytes free, but {size} are needed"):
            place.make()

        assert place.names() == [FIRST, "filler"]
        assert place.left() == []
        assert (place.data / "e.db").read_bytes() == ledger
        small.empty()
        place.make()
        assert place.names() == [FIRST, SECOND]


def test_a_volume_that_gets_full_while_it_is_written_keeps_the_older_ones(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with volumes.mounted(tmp_path / "small", 2 * volumes.MIB) as small:
        source = tmp_path / "copy.db"
        source.write_bytes(bytes(volumes.MIB))
        (small.path / FIRST).write_text("older")
        small.fill(leave=volumes.MIB // 2)
        monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((1, 4096, *[10**6] * 8)))

        with pytest.raises(backup_volume.VolumeError, match=f"has no free space: {volumes.MIB} bytes are needed"):
            backup_volume.store(small.path, source, keep=3, now_s=NOW_S)

        assert sorted(one.name for one in small.path.iterdir()) == [FIRST, "filler"]


def test_a_volume_that_returns_other_bytes_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_volume, "_digest", lambda _path: b"another")

    with pytest.raises(backup_volume.VolumeError, match="returns other bytes"):
        backup_volume.store(place.path, place.data / "e.db", keep=3, now_s=NOW_S)

    assert place.names() == []


def test_a_ledger_volume_without_space_for_the_copy_is_not_filled(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((4096, 4096, *[100] * 8)))

    with pytest.raises(backups.BackupFailed, match="too few for a copy beside the ledger"):
        place.make()

    assert place.asked == []


def test_a_missing_directory_is_named_and_not_created(place: Place) -> None:
    missing = place.path / "none"

    with pytest.raises(backups.BackupFailed, match=f"{missing} does not exist: is the volume mounted"):
        place.scheduled(path=missing).find_due_s()
    with pytest.raises(backups.BackupFailed, match=f"{missing} does not exist: is the volume mounted"):
        place.make(path=missing)

    assert (missing.exists(), place.left()) == (False, [])


def test_a_damaged_copy_is_not_kept(place: Place) -> None:
    def spoiled(request: wire.AnyRequest) -> Any:
        reply = place.call(request)
        if not reply.left:
            (staged,) = place.data.glob("*.backup-unfinished-*")
            staged.write_text("no database")
        return reply

    with pytest.raises(backups.BackupFailed, match="the copy of the ledger is damaged: damaged: "):
        place.scheduled().make(spoiled)

    assert (place.names(), place.left()) == ([], [])


def test_a_volume_that_hangs_stops_neither_this_process_nor_the_next_try(place: Place) -> None:
    """The process that uses the volume waits, as for NFS: it is abandoned, and no second one is started."""
    hanging = place.scheduled(silent_s=0.3)
    started: list[int] = []
    popen = subprocess.Popen

    def frozen(*arguments: Any, **values: Any) -> Any:
        run = popen([sys.executable, "-c", "import time; print('.', flush=True); time.sleep(1000)"], **values)
        started.append(run.pid)
        return run

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess, "Popen", frozen)
        patched.setattr(popen, "kill", lambda _self: None)  # as for a process in an uninterruptible wait
        with pytest.raises(backups.BackupFailed, match=r"has not answered for 0\.3 s"):
            hanging.find_due_s()
        with pytest.raises(backups.BackupFailed, match="still does not answer"):
            hanging.find_due_s()
    assert len(started) == 1
    os.kill(started[0], signal.SIGKILL)
    os.waitpid(started[0], 0)
    hanging._deps = dataclasses.replace(hanging._deps, silent_s=60.0)

    assert hanging.find_due_s() == 0.0


def test_a_stop_ends_a_backup_at_once(place: Place) -> None:
    def stopping(request: wire.AnyRequest) -> Any:
        place.stop.set()
        return place.call(request)

    with pytest.raises(errors.Stopping):
        place.scheduled().make(stopping)

    assert (place.names(), place.left()) == ([], [])


class Client:
    """A bus client that answers from a store, and moves the clock at each wait of the schedule."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def call(self, _request: wire.AnyRequest) -> wire.Pong:
        return wire.Pong(state="ready", since_us=0)

    def try_call(self, request: wire.AnyRequest, *, timeout_s: float) -> Any:
        assert timeout_s > 0
        return self.place.call(request)


class Waits(threading.Event):
    """A stop flag whose waits take no time, but move the clock; it is set after a number of seconds."""

    def __init__(self, until_s: float) -> None:
        super().__init__()
        self.at_s, self.until_s = 0.0, until_s
        self.on_wait: Callable[[float], None] = lambda _at_s: None

    def wait(self, timeout: float | None = None) -> bool:
        if timeout == backups._POLL_S:  # for a subprocess
            super().wait(0.005)
        else:
            self.at_s += timeout or 0.0
        self.on_wait(self.at_s)
        if self.at_s >= self.until_s:
            self.set()
        return self.is_set()


def run_for(place: Place, days: float, **changes: Any) -> None:
    waits = Waits(days * DAY_S)
    place.stop = waits
    began_s = place.now_s

    def moved(at_s: float) -> None:
        place.now_s = began_s + at_s

    waits.on_wait = changes.pop("on_wait", moved)
    client: Any = Client(place)
    scheduled = place.scheduled(keep=100, clock=lambda: waits.at_s, **changes)
    scheduled.run(client)


def test_a_pod_that_restarts_more_often_than_the_interval_makes_one_each_interval(place: Place) -> None:
    for _part in range(5):
        run_for(place, 0.3)

    assert len(place.names()) == 2


def test_a_clock_that_is_set_while_it_runs_does_not_move_the_schedule(place: Place) -> None:
    def back(at_s: float) -> None:
        place.now_s = NOW_S + at_s - (365 * DAY_S if at_s > DAY_S / 2 else 0)

    run_for(place, 2.5, on_wait=back)

    made = backup_names.parse(place.names())
    assert [one.number for one in made] == [1, 2, 3]
    assert made[0].made_at > made[2].made_at


def test_a_failure_is_retried_soon_and_then_less_often(place: Place) -> None:
    place.path.rmdir()
    failures = metrics.BACKUP_RUNS.labels(result="failed")._value
    before = failures.get()

    def mounted(at_s: float) -> None:
        if at_s > 4000 and not place.path.exists():
            place.path.mkdir()

    run_for(place, 0.5, on_wait=mounted)

    failed = [state for state in place.states if state["state"] == "failed"]
    assert 5 <= len(failed) == failures.get() - before <= 8
    assert "does not exist" in str(failed[0]["reason"])
    assert (place.states[-1]["state"], len(place.names())) == ("waiting", 1)


def test_another_configuration_ends_the_schedule(place: Place) -> None:
    def changed(_request: wire.AnyRequest) -> Any:
        raise bus.SettingsChanged("changed")

    with pytest.raises(bus.SettingsChanged):
        place.scheduled().make(changed)

    assert place.left() == []
