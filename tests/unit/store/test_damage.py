"""Damaged files: each is judged rightly, nothing that can be read is lost, and nothing of the damaged file either."""

import os
import random
import shutil
from pathlib import Path

import apsw
import pytest

from beacon import errors
from beacon.domain import model
from beacon.store.ledger import database, packing
from beacon.store.recovery import integrity, salvage
from tests.unit.store import world

PAGE = 4096
SCOPE = world.scope_of()
WANTED = salvage.RescueConfig(scopes=(SCOPE.id,), endpoint="default", endpoints=())
OBJECTS = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a ledger of 400 objects; the first 100 of their events are delivered."""
    path = tmp_path_factory.mktemp("whole") / "e.db"
    store = world.World(path)
    store.open()
    store.relist(10)
    for number in range(OBJECTS):
        store.observe(10 + number, 11 + number, world.seen(f"o{number}", 11 + number, model.ChangeKind.ADDED))
    claimed = store.claim(100)
    store.claim(0, *map(world.delivered, claimed.deliveries))
    store.ledger.close()
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "e.db"))


def opened(path: Path) -> integrity.Opened:
    return integrity.open_checked(path, WANTED, lambda *_: None, 1_800_000_000_000_000)


def pages_of(path: Path, name: str, kind: str = "leaf") -> list[int]:
    connection = apsw.Connection(os.fspath(path))
    rows = connection.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ?", (name, kind)).fetchall()
    connection.close()
    return [int(str(row[0])) for row in rows]


def spoil(path: Path, *numbers: int, filler: bytes = b"\xa5" * PAGE) -> None:
    with path.open("r+b") as file:
        for number in numbers:
            file.seek((number - 1) * PAGE)
            file.write(filler)


def open_events(ledger: database.Database) -> set[str]:
    rows = ledger.rows(
        "SELECT e.id FROM readable_events e JOIN readable_deliveries d USING (sequence)"
        " WHERE d.state IN ('queued', 'ready')"
    )
    return {str(row[0]) for row in rows}


def ids_on(path: Path, numbers: list[int]) -> set[str]:
    """Return the ids of the events whose bytes are on these pages."""
    data = path.read_bytes()
    text = b"".join(data[(number - 1) * PAGE : number * PAGE] for number in numbers)
    connection = apsw.Connection(os.fspath(path))
    rows = connection.execute("SELECT id FROM events").fetchall()
    found = {packing.unpacked(id_) for (id_,) in rows if isinstance(id_, bytes) and id_ in text}
    connection.close()
    return found


def all_open(path: Path) -> set[str]:
    ledger = database.Database(path)
    found = open_events(ledger)
    ledger.close()
    return found


def asides(path: Path) -> list[Path]:
    return sorted(path.parent.glob("e.db.damaged-*"))


def test_a_whole_file_is_opened_as_it_is_after_an_unclean_end(path: Path) -> None:
    found = opened(path)

    assert (found.finding, found.rescue) == ("", None)
    assert len(open_events(found.ledger)) == OBJECTS - 100
    found.ledger.close()


def test_after_a_clean_end_nothing_is_checked(path: Path) -> None:
    integrity.mark_clean(path)
    said: list[tuple[str, float]] = []

    integrity.open_checked(path, WANTED, lambda *done: said.append(done), 1).ledger.close()

    assert said == []
    assert integrity.read_marker(path) is integrity.ShutdownMarker.NONE


def test_the_check_and_the_rescue_report_their_progress(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_STEPS_BETWEEN_REPORTS", 10)  # the ledger of this test is small
    monkeypatch.setattr(salvage, "_AT_ONCE", 10)
    spoil(path, pages_of(path, "events")[0])
    said: list[tuple[str, float]] = []

    integrity.open_checked(path, WANTED, lambda *done: said.append(done), 1).ledger.close()

    activities = list(dict.fromkeys(doing for doing, _ in said))
    assert (activities[0], activities[-1]) == ("checking the ledger", "rescuing a damaged ledger")
    for doing in (activities[0], activities[-1]):
        shares = [share for what, share in said if what == doing]
        assert shares == sorted(shares)
        assert shares[0] == 0.0
        assert 0.0 < shares[-1] <= 1.0


def test_a_file_that_was_changed_since_its_clean_end_is_checked(path: Path) -> None:
    integrity.mark_clean(path)
    spoil(path, pages_of(path, "events")[0])

    found = opened(path)

    assert found.rescue is not None
    found.ledger.close()


def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    path.touch()

    found = opened(path)

    assert (found.finding, asides(path)) == ("", [])
    found.ledger.close()


@pytest.mark.parametrize("content", [b"x", b"\0", b"SQLite format 3\0", b"garbage" * 999, b"\0" * 9000])
def test_what_is_no_database_is_kept_aside_and_a_fresh_one_lists(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "e.db"
    path.write_bytes(content)

    found = opened(path)

    assert found.rescue is not None
    assert found.rescue.aside.read_bytes() == content
    assert found.ledger.rows("SELECT reason, to_us FROM gaps") == [("damaged", None)]
    assert found.ledger.rows("SELECT reason, resource_version FROM cursors") == [("damaged", 0)]
    found.ledger.close()


def test_a_file_that_was_emptied_since_its_clean_end_is_damaged(path: Path) -> None:
    integrity.mark_clean(path)
    path.write_bytes(b"")

    found = opened(path)

    assert found.rescue is not None
    found.ledger.close()


def test_a_database_of_another_program_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    connection = apsw.Connection(os.fspath(path))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(errors.StartError, match="of another program") as caught:
        opened(path)

    assert caught.value.exit_code == errors.EXIT_CONFIG
    assert asides(path) == []


def test_an_index_that_differs_from_its_table_is_rebuilt(path: Path) -> None:
    expected = all_open(path)
    (page, *_) = pages_of(path, "sqlite_autoindex_order_keys_1")
    data = path.read_bytes()
    on_page = data[(page - 1) * PAGE : page * PAGE]
    spoil(path, page, filler=on_page.replace(b"ConfigMapnso", b"ConfigMapnsx"))
    integrity.mark_damaged(path)

    found = opened(path)

    assert found.finding
    assert found.rescue is None
    assert asides(path) == []
    assert open_events(found.ledger) == expected
    assert found.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    found.ledger.close()


def test_an_index_that_can_not_be_rebuilt_in_place_costs_no_event(path: Path) -> None:
    expected = all_open(path)
    spoil(path, *pages_of(path, "events_of_key")[:1], *pages_of(path, "events_by_id")[:1])

    found = opened(path)

    assert found.rescue is not None
    assert found.rescue.lost == {"deliveries": 0, "objects": 0}
    assert found.rescue.reopened == 0
    assert open_events(found.ledger) == expected
    found.ledger.close()


@pytest.mark.parametrize(
    ("table", "kind"),
    [("events", "leaf"), ("events", "internal"), ("deliveries", "leaf"), ("deliveries", "internal"),
     ("objects", "leaf"), ("objects", "internal"), ("meta", "leaf"), ("cursors", "leaf"), ("sqlite_schema", "leaf"),
     ("sqlite_schema", "internal")],
)  # fmt: skip
def test_rows_outside_a_damaged_page_are_rescued_and_reported(path: Path, table: str, kind: str) -> None:
    expected = all_open(path)
    spoilt = pages_of(path, table, kind)[-1:]
    if table == "events":
        expected -= ids_on(path, spoilt)
    before = path.read_bytes()
    spoil(path, *spoilt)
    damaged = path.read_bytes()

    found = opened(path)

    if spoilt:
        assert before != damaged
        assert found.rescue is not None
        assert found.rescue.aside.read_bytes()[PAGE:] == damaged[PAGE:]
        assert found.ledger.rows("SELECT reason FROM gaps WHERE to_us IS NULL") == [("damaged",)]
        assert found.ledger.rows("SELECT reason, resource_version FROM cursors") == [("damaged", 0)]
    assert expected <= open_events(found.ledger)
    assert found.ledger.rows("PRAGMA integrity_check") == [("ok",)]
    assert found.ledger.rows("PRAGMA foreign_key_check") == []
    found.ledger.close()


def test_a_truncated_file_gives_what_is_left(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 77])

    found = opened(path)

    assert found.rescue is not None
    assert found.ledger.rows("SELECT count(*) FROM readable_events")[0][0] > OBJECTS // 4
    found.ledger.close()


def test_the_log_of_a_killed_store_is_read_too(whole: Path, tmp_path: Path) -> None:
    store = world.World(tmp_path / "live.db")
    store.open()
    store.relist(10, world.seen("young", 5))
    path = tmp_path / "e.db"
    shutil.copy(tmp_path / "live.db", path)
    shutil.copy(tmp_path / "live.db-wal", tmp_path / "e.db-wal")
    store.ledger.close()
    with path.open("r+b") as file:
        file.write(b"nonsense")

    found = opened(path)

    assert found.rescue is not None
    assert found.ledger.rows("SELECT name FROM readable_events") == [("young",)]
    assert found.rescue.aside.with_name(found.rescue.aside.name + "-wal").exists()
    found.ledger.close()


def test_attempts_sequences_and_ids_stay_and_the_ledger_is_another(path: Path) -> None:
    store = world.World(path)
    claimed = store.claim(1)
    outcome = world.delivered(claimed.deliveries[0])
    retry = model.Outcome(
        delivery=outcome.delivery, generation=0, attempt=1, result=model.DeliveryResult.RETRY, code="500", status=500,
        delay_s=60.0,
    )  # fmt: skip
    store.claim(0, retry)
    old = store.ledger.rows("SELECT ledger FROM meta")
    kept = store.ledger.rows(
        "SELECT e.sequence, e.id, d.previous FROM readable_events e JOIN readable_deliveries d USING (sequence)"
    )
    tried = store.ledger.rows("SELECT sequence, attempts, requests, state FROM readable_deliveries WHERE requests > 0")
    attempts = store.ledger.rows("SELECT * FROM readable_attempts")
    store.ledger.close()
    spoil(path, *pages_of(path, "objects")[-1:])

    found = opened(path)

    assert found.rescue is not None
    assert found.ledger.rows("SELECT ledger FROM meta") != old
    assert (
        found.ledger.rows(
            "SELECT e.sequence, e.id, d.previous FROM readable_events e JOIN readable_deliveries d USING (sequence)"
        )
        == kept
    )
    query = "SELECT sequence, attempts, requests, state FROM readable_deliveries WHERE requests > 0"
    assert found.ledger.rows(query) == tried
    assert found.ledger.rows("SELECT * FROM readable_attempts") == attempts
    found.ledger.close()


def test_a_rescued_ledger_is_served_listed_and_delivered(path: Path) -> None:
    expected = all_open(path)
    spoil(path, *pages_of(path, "objects")[:1])
    opened(path).ledger.close()

    store = world.World(path)
    opening = store.open()
    assert opening.reason is model.GapReason.DAMAGED
    store.relist(500, *(world.seen(f"o{number}", 11 + number) for number in range(OBJECTS)))
    emitted = store.deliver_all()

    assert set(emitted) == expected
    assert store.ledger.rows("SELECT count(*) FROM gaps WHERE reason = 'damaged' AND to_us IS NULL") == [(0,)]
    store.ledger.close()


@pytest.mark.parametrize("last_step", ["fresh one made", "damaged one moved", "log moved"])
def test_a_crash_while_the_files_are_exchanged_loses_neither(
    path: Path, last_step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_open(path)
    spoil(path, 1)
    path.with_name("e.db-wal").write_bytes(b"")
    damaged = path.read_bytes()
    left = {"fresh one made": 0, "damaged one moved": 1, "log moved": 2}[last_step]
    rename = Path.rename

    def dying(self: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)
    with pytest.raises(KeyboardInterrupt):
        opened(path)
    monkeypatch.undo()

    found = opened(path)

    assert open_events(found.ledger) == expected
    assert [aside.read_bytes() for aside in asides(path) if not aside.name.endswith("-wal")] == [damaged]
    found.ledger.close()


def test_damage_that_no_check_finds_ends_in_a_rescue_and_not_in_a_loop(path: Path) -> None:
    for finding in ("", "again"):
        integrity.mark_damaged(path)
        found = opened(path)
        assert bool(found.finding) == bool(finding)
        found.ledger.close()

    assert len(asides(path)) == 1


def test_an_unknown_enum_value_is_damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"first-list", b"firzt-list"))

    found = opened(path)

    assert found.rescue is not None
    found.ledger.close()


# A row with another's rowid; entries that only an index lacks; a pointer map, of which rows were taken for free pages.
ONCE_FATAL = (1023, 1059, 1176, 1265, 1275)


def flip(random_: random.Random, data: bytearray) -> None:
    kind = random_.randrange(4)
    at = random_.randrange(len(data))
    if kind == 0:
        data[at] ^= 1 << random_.randrange(8)
    elif kind == 1:
        data[at : at + 64] = random_.randbytes(64)[: len(data) - at]
    elif kind == 2:
        page = at // PAGE * PAGE
        data[page : page + PAGE] = random_.randbytes(PAGE)
    else:
        page = at // PAGE * PAGE
        data[page : page + 16] = random_.randbytes(16)


@pytest.mark.parametrize("seed", [*range(40), *ONCE_FATAL])
def test_flipped_bits_lose_no_readable_row_and_crash_no_process(whole: Path, path: Path, seed: int) -> None:
    random_ = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(random_.randrange(1, 4)):
        flip(random_, data)
    path.write_bytes(data)
    touched = [n + 1 for n in range(len(data) // PAGE) if data[n * PAGE : n * PAGE + PAGE] != whole_page(whole, n)]
    expected = all_open(whole) - ids_on(whole, touched)

    found = opened_or_newer(path)
    if found is None:
        assert data[60:64] != whole.read_bytes()[60:64]
        return

    assert expected <= open_events(found.ledger)
    found.ledger.close()
    world.World(path).deliver_all()


def opened_or_newer(path: Path) -> integrity.Opened | None:
    try:
        return opened(path)
    except errors.StartError as error:
        if "newer Beacon" not in str(error):
            raise
        return None


def whole_page(whole: Path, number: int) -> bytes:
    with whole.open("rb") as file:
        file.seek(number * PAGE)
        return file.read(PAGE)
