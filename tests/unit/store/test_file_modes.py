"""The ledger's files belong to their owner alone."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import database
from beacon.store.recovery import integrity, salvage
from tests.unit.store import world

WANTED = salvage.RescueConfig(scopes=(model.ScopeId(group="", kind="ConfigMap"),), endpoint="default", endpoints=())


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_checked(path: Path) -> database.Database:
    return integrity.open_checked(path, WANTED, lambda *_: None, time.time_ns() // 1000).ledger


def modes(directory: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in directory.iterdir()}


def test_a_new_ledger_its_log_its_marker_and_its_copy_have_mode_0600(tmp_path: Path) -> None:
    store = world.World(tmp_path / "events.db")
    store.open()
    store.relist(10, world.seen("a", 5))
    while store.ask(wire.Backup(target=str(tmp_path / "copy.db"))).left:
        pass
    during = modes(tmp_path)
    store.ledger.close()
    integrity.mark_clean(tmp_path / "events.db")

    assert set(during) == {"events.db", "events.db-wal", "copy.db"}
    assert set(modes(tmp_path)) == {"events.db", "events.db.mark", "copy.db"}
    assert {*during.values(), *modes(tmp_path).values()} == {0o600}


def test_what_an_earlier_release_left_readable_is_tightened_and_nothing_else_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    open_checked(path).close()
    names = [
        "events.db",
        "events.db.mark",
        "events.db.damaged-1",
        "events.db.damaged-1-wal",
        "events.db.bak",
        "other.db",
    ]
    for name in names:
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    integrity.mark_clean(path)
    tmp_path.chmod(0o755)

    open_checked(path).close()

    found = modes(tmp_path)
    assert {name: mode for name, mode in found.items() if mode != 0o600} == {"other.db": 0o644}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_damaged_ledger_and_its_log_are_moved_aside_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    for name in (path, tmp_path / "events.db-wal"):
        name.write_bytes(b"no database" * 1000)
        name.chmod(0o644)

    open_checked(path).close()

    found = modes(tmp_path)
    assert len([name for name in found if ".damaged-" in name]) == 2
    assert set(found.values()) == {0o600}


def test_a_mode_that_cannot_be_changed_keeps_nothing_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    (tmp_path / "events.db-dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "events.db.d").mkdir(mode=0o755)

    open_checked(path).close()

    assert modes(tmp_path / "events.db.d") == {}
    assert (tmp_path / "events.db.d").stat().st_mode & 0o777 == 0o755
