"""A copy takes the place of the ledger: killed at any step, one of the two is whole, and nothing is lost of either."""

import gzip
import itertools
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from beacon import errors, wire
from beacon.domain import model
from beacon.store.ledger import copying, database, directory_lock, migrating
from beacon.store.recovery import integrity, replacing, restoring, salvage, verification
from tests.unit.store import world

OF_0_1_0 = Path(__file__).parent / "ledgers" / "0.1.0.db.gz"
CONFIG = salvage.RescueConfig(scopes=(world.scope_of().id,), endpoint="default", endpoints=())


def ledger(path: Path, *objects: str) -> world.World:
    store = world.World(path)
    store.open()
    store.relist(10, *(world.seen(name, 5 + place) for place, name in enumerate(objects)))
    return store


def copy_of(store: world.World, target: Path) -> Path:
    while store.ask(wire.Backup(target=str(target))).left:
        pass
    return target


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """Return a ledger whose last event is only in its log, and an older copy of it."""
    data = tmp_path / "data"
    data.mkdir()
    path = data / "events.db"
    store = ledger(path, "before")
    copy = copy_of(store, tmp_path / "copy.db")
    store.observe(10, 20, world.seen("after", 20))
    shutil.copy(path, data / "kept")
    shutil.copy(path.with_name("events.db-wal"), data / "kept-wal")
    store.ledger.close()
    (data / "kept").replace(path)
    (data / "kept-wal").replace(path.with_name("events.db-wal"))
    return path, copy


def restore(source: Path, path: Path) -> int:
    with open(os.devnull, "wb") as sink:  # noqa: PTH123  a device
        return restoring.main(source, path, sink.fileno())


def opened(path: Path) -> set[str]:
    found = integrity.open_checked(path, CONFIG, lambda _doing, _share: None, 0)
    rows = {str(name) for (name,) in found.ledger.rows("SELECT name FROM order_keys")}
    assert found.finding == ""
    found.ledger.close()
    return rows


def test_the_previous_ledger_is_kept_with_its_log(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, copy = both

    assert restore(copy, path) == errors.EXIT_OK

    aside = path.with_name("events.db.replaced")
    assert capsys.readouterr().out.splitlines() == [
        str(migrating.schema_version()),
        str(path.stat().st_size),
        str(aside),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.with_name("events.db-wal").exists()
    assert opened(path) == {"before"}
    assert opened(aside) == {"before", "after"}
    assert restore(aside, path) == errors.EXIT_OK, "the way back"
    assert opened(path) == {"before", "after"}
    assert opened(path.with_name("events.db.replaced-2")) == {"before"}


@pytest.mark.parametrize("earlier", [True, False])
def test_without_a_ledger_the_copy_becomes_it_and_nothing_is_named(
    both: tuple[Path, Path], capsys: pytest.CaptureFixture[str], *, earlier: bool
) -> None:
    path, copy = both
    if earlier:
        assert restore(copy, path) == errors.EXIT_OK
    for one in (path, path.with_name("events.db-wal")):
        one.unlink(missing_ok=True)
    capsys.readouterr()

    assert restore(copy, path) == errors.EXIT_OK

    assert capsys.readouterr().out.splitlines()[2] == ""
    assert opened(path) == {"before"}
    asides = [opened(one) for one in path.parent.glob("events.db.replaced*") if not one.name.endswith("-wal")]
    assert asides == [{"before", "after"}] * earlier


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("again", ["store", "restore"])
def test_after_a_kill_between_any_two_steps_one_of_the_two_is_whole(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, *, links: bool, again: str
) -> None:
    path, copy = both
    origin = path.parent.with_name("origin")
    shutil.copytree(path.parent, origin)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", _refuse)

    for step in itertools.count():
        shutil.rmtree(path.parent)
        shutil.copytree(origin, path.parent)
        (path.with_name("events.db.mark")).write_text("hopeless\n" if step else "")
        with restoring.unfinished(path):
            schema, found = restoring.prepare(copy, path, lambda _share: None)
            assert (schema, found) == (migrating.schema_version(), [])
            steps = itertools.chain(replacing.decide(path), replacing.steps(path))
            over = sum(1 for _ in itertools.islice(steps, step)) < step
        decided = step > 0
        if again == "restore":
            assert restore(copy, path) == errors.EXIT_OK
        elif not decided:
            path.with_name("events.db.mark").unlink()
        assert opened(path) == ({"before"} if decided or again == "restore" else {"before", "after"}), step
        kept = [opened(one) for one in path.parent.glob("events.db.replaced*") if not one.name.endswith("-wal")]
        assert {"before", "after"} in kept or not decided, step
        assert list(path.parent.glob("events.db.restore*")) == []
        if over:
            break
    assert step > 6


def _refuse(_self: Path, _target: Path) -> None:
    raise OSError(1, "no links")


def test_a_damaged_copy_changes_nothing(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, copy = both
    with closing(sqlite3.connect(copy)) as spoilt:
        spoilt.execute("UPDATE views SET open = open + 1")
        spoilt.commit()

    assert restore(copy, path) == errors.EXIT_FAILURE

    assert "the view of" in capsys.readouterr().err
    assert opened(path) == {"before", "after"}
    assert sorted(one.name for one in path.parent.iterdir()) == ["beacon.lock", "events.db"]


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (b"", errors.EXIT_FAILURE, "is not a ledger of Beacon"),
        (b"no database, but long enough to be one" * 50, errors.EXIT_FAILURE, "damaged"),
    ],
)
def test_another_file_is_refused(
    both: tuple[Path, Path], capsys: pytest.CaptureFixture[str], content: bytes, code: int, text: str
) -> None:
    path, copy = both
    copy.write_bytes(content)

    assert restore(copy, path) == code

    assert text in capsys.readouterr().err
    assert opened(path) == {"before", "after"}


def test_a_copy_of_a_newer_schema_is_refused(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, copy = both
    with closing(sqlite3.connect(copy)) as newer:
        newer.execute("PRAGMA user_version = 99")

    assert restore(copy, path) == errors.EXIT_CONFIG

    assert f"{copy} was written by a newer Beacon (schema 99" in capsys.readouterr().err
    assert opened(path) == {"before", "after"}


def test_a_ledger_that_is_served_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.db"
    store = ledger(path, "one")
    copy = copy_of(store, tmp_path / "copy.db")

    with directory_lock.locked(tmp_path, "the database directory"):
        refused = restore(copy, path)
    itself = restore(path, path)
    store.ledger.close()

    assert (refused, itself) == (errors.EXIT_TEMPORARY, errors.EXIT_FAILURE)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"a store serves {path}: stop Beacon first, or add --restart-store",
        f"{path} is the ledger itself",
    ]


def test_a_link_is_not_replaced(both: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, copy = both
    link = path.with_name("link.db")
    link.symlink_to(path)

    assert restore(copy, link) == errors.EXIT_CANNOT_CREATE

    assert "symbolic link" in capsys.readouterr().err
    assert opened(path) == {"before", "after"}


def test_two_restores_at_a_time_do_not_mix(both: tuple[Path, Path]) -> None:
    path, _copy = both
    with (
        restoring.unfinished(path),
        pytest.raises(errors.StartError, match="another beacon restore"),
        restoring.unfinished(path),
    ):
        pass


def test_a_restored_ledger_is_another_one_and_records_the_gap(both: tuple[Path, Path]) -> None:
    path, copy = both
    previous = world.World(Path(shutil.copy(copy, copy.with_name("previous.db"))))
    with closing(sqlite3.connect(copy)) as made:
        (original,) = made.execute("SELECT ledger FROM meta").fetchone()
        ((positioned,),) = made.execute("SELECT positioned_us FROM cursors").fetchall()

    assert restore(copy, path) == errors.EXIT_OK
    store = world.World(path)

    assert store.service.ledger_id not in (original, previous.service.ledger_id)
    (gap,) = [one for one in store.ask(wire.Inspect()).gaps if one.reason is model.GapReason.RESTORED]
    assert (gap.since_us, gap.certainty, gap.differences) == (positioned, "unknown", 0)
    assert gap.until_us == store.clock()
    assert store.open().cursor == 10, "the history since is read again"
    store.restart()
    assert len([one for one in store.ask(wire.Inspect()).gaps if one.reason is model.GapReason.RESTORED]) == 1
    store.ledger.close()
    previous.ledger.close()


def test_a_ledger_of_0_1_0_goes_up_and_down_again(tmp_path: Path) -> None:
    """Up: the store migrates it and keeps a copy. Down: that copy is put back, in the schema that 0.1.0 opens."""
    path = tmp_path / "events.db"
    path.write_bytes(gzip.decompress(OF_0_1_0.read_bytes()))
    store = world.World(path, updates=True)
    kept = tmp_path / "events.db.schema-4"
    assert store.ledger.migrated is not None
    assert store.ledger.migrated.copy == kept
    store.ledger.close()

    assert restore(kept, path) == errors.EXIT_OK

    with closing(sqlite3.connect(path)) as down:
        assert down.execute("PRAGMA user_version").fetchone() == (4,)
        assert down.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert down.execute("SELECT copied FROM meta").fetchone() == (1,)
    assert list(verification.findings(path)) == []
    # The upgrade again: the kept copy stays, and the ledger is migrated once more.
    again = world.World(path, updates=True)
    assert again.ledger.row("PRAGMA user_version") == (migrating.schema_version(),)
    again.ledger.close()


@pytest.mark.parametrize("kept", [(), (6,), (6, 7)])
def test_a_newer_ledger_is_refused_in_one_sentence_with_the_way_back(tmp_path: Path, kept: tuple[int, ...]) -> None:
    path = tmp_path / "events.db"
    ledger(path, "one").ledger.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {migrating.schema_version() + 1}")
    for number in kept:
        shutil.copy(path, tmp_path / f"events.db.schema-{number}")
    before = path.read_bytes()

    with pytest.raises(errors.StartError) as caught:
        database.Database(path)

    head = f"{path} was written by a newer Beacon (schema 8; this one supports 7)"
    way = f"`beacon restore {path}.schema-{max(kept, default=0)}` puts back the copy that was made before the migration"
    none = f"restore a backup, because there is no copy {path}.schema-7"
    assert str(caught.value) == f"{head}: {way if kept else none}"
    assert caught.value.exit_code == errors.EXIT_CONFIG
    assert path.read_bytes() == before


def test_a_copy_of_a_newer_ledger_takes_the_place_of_one_that_this_beacon_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    store = ledger(path, "one")
    kept = copy_of(store, tmp_path / "events.db.schema-7")
    store.ledger.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 8")

    assert restore(kept, path) == errors.EXIT_OK

    assert opened(path) == {"one"}
    with closing(sqlite3.connect(tmp_path / "events.db.replaced")) as aside:
        assert aside.execute("PRAGMA user_version").fetchone() == (8,)


def test_an_interrupted_rescue_does_not_undo_a_restore(both: tuple[Path, Path], tmp_path: Path) -> None:
    path, copy = both
    rescued = ledger(tmp_path / "r.db", "rescued")
    rescued.ledger.close()
    (tmp_path / "r.db").replace(path.with_name("events.db.rescue"))

    assert restore(copy, path) == errors.EXIT_OK

    assert opened(path) == {"before"}
    assert opened(next(path.parent.glob("events.db.damaged-*[0-9]"))) == {"before", "after"}


def test_a_volume_without_space_changes_nothing(both: tuple[Path, Path]) -> None:
    path, copy = both

    class Full(copying.Copy):
        def step(self, pages: int) -> tuple[int, int]:
            raise copying.CopyError(f"{pages} pages: no free space")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(copying, "Copy", Full)
        assert restore(copy, path) == errors.EXIT_FAILURE

    assert opened(path) == {"before", "after"}
    assert not replacing.unfinished_file(path).exists()
