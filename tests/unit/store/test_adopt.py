"""Another cluster behind the same configuration: refused until an operator adopts it."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import endpoints
from beacon.store.recovery import verification
from tests.unit.store import world


@pytest.fixture
def store(tmp_path: Path) -> world.World:
    store = world.World(tmp_path / "e.db")
    store.open(cluster="old")
    store.relist(10, world.seen("kept", 5), world.seen("lost", 6))
    store.deliver_all()
    return store


def refuse(store: world.World, cluster: str) -> str:
    scope = store.scopes[0]
    request = wire.OpenStream(scope=scope.id, label="l", fingerprint=scope.fingerprint, nonce="n", cluster=cluster)
    refused = store.ask(request)
    assert isinstance(refused, wire.Refused)
    return refused.message


def test_another_cluster_is_refused_with_what_to_do(store: world.World) -> None:
    assert "beacon adopt" in refuse(store, "new")


def test_the_refused_cluster_is_adopted_and_listed_without_deleted_events(store: world.World) -> None:
    refuse(store, "new")

    adopted = store.ask(wire.Adopt())
    opened = store.open(cluster="new")
    store.relist(3, world.seen("kept", 2, uid="another"))

    assert adopted == wire.Adopted(cluster="new", changed=True, previous="old")
    assert (opened.epoch, opened.cursor, opened.reason) == (1, 0, "adopted")
    assert [(name, what) for name, what, _ in store.events()] == [
        ("kept", "created"), ("lost", "created"), ("kept", "created"),
    ]  # fmt: skip
    assert store.ledger.rows("SELECT reason, differences FROM gaps ORDER BY id DESC LIMIT 1") == [("adopted", 1)]


def test_no_comparison_sends_deleted_events_of_the_old_cluster(store: world.World) -> None:
    store.observe(10, 11, world.seen("late", 11, model.ChangeKind.ADDED))
    late = store.claim().deliveries
    store.ask(wire.Adopt(cluster="new", force=True))
    store.claim(0, *map(world.delivered, late))
    assert list(verification.inconsistencies(store.ledger)) == []

    store.restart(endpoints_=(endpoints.LedgerEndpoint(name="default", url_digest=b"url", selection="changed"),))
    store.open(cluster="new")
    store.relist(3, world.seen("kept", 2, uid="another"))
    store.catch_up()

    assert {what for _, what, _ in store.events()} == {"created"}
    assert list(verification.inconsistencies(store.ledger)) == []


def test_adopting_twice_is_adopting_once(store: world.World) -> None:
    refuse(store, "new")
    store.ask(wire.Adopt())

    assert store.ask(wire.Adopt()) == wire.Adopted(cluster="new", changed=False, previous="new")
    assert store.open(cluster="new").epoch == 1


def test_requests_of_a_stream_of_the_old_cluster_are_refused(store: world.World) -> None:
    store.ask(wire.Adopt(cluster="new", force=True))

    assert store.observe(10, 11, world.seen("late", 11)).place is wire.ApplyResult.OUT_OF_POSITION


@pytest.mark.parametrize("refused", ["", "new"])
def test_a_cluster_that_was_not_refused_is_adopted_only_by_force(store: world.World, refused: str) -> None:
    if refused:
        refuse(store, refused)

    plain = store.ask(wire.Adopt(cluster="mistyped"))
    forced = store.ask(wire.Adopt(cluster="mistyped", force=True))

    assert isinstance(plain, wire.Refused)
    assert f"{refused or 'no other cluster'} was refused" in plain.message
    assert forced == wire.Adopted(cluster="mistyped", changed=True, previous="old")


def test_a_check_names_the_cluster_and_changes_nothing(store: world.World) -> None:
    refuse(store, "new")

    checked = store.ask(wire.Adopt(check=True))

    assert checked == wire.Adopted(cluster="new", changed=True, previous="old")
    assert store.open(cluster="old").epoch == 0


def test_without_a_refused_cluster_one_must_be_named(store: world.World) -> None:
    assert isinstance(store.ask(wire.Adopt()), wire.Refused)


def test_a_backup_holds_what_is_written_while_it_is_made_and_writers_hardly_wait(
    store: world.World, tmp_path: Path
) -> None:
    target = str(tmp_path / "copy.db")
    first = store.ask(wire.Backup(target=target))
    store.open(cluster="old")
    store.observe(10, 11, world.seen("young", 11))
    while store.ask(wire.Backup(target=target)).left:
        pass

    assert isinstance(first, wire.BackupProgress)
    assert store.ask(wire.Backup(target=target)).left == 0
    assert isinstance(store.ask(wire.Backup(target="relative")), wire.Refused)
    assert isinstance(store.ask(wire.Backup(target=target)), wire.Refused)  # it is there, and another was begun since


def test_a_copy_that_is_served_is_another_ledger_and_uses_no_number_again(store: world.World, tmp_path: Path) -> None:
    store.open(cluster="old")
    store.relist(10, world.seen("before", 5))
    target = tmp_path / "copy.db"
    while store.ask(wire.Backup(target=str(target))).left:
        pass
    copied = sequences(store)
    store.observe(10, 12, world.seen("after", 12))

    copy = world.World(target)

    assert copy.service.ledger_id != store.service.ledger_id
    copy.open(cluster="old")
    copy.observe(10, 13, world.seen("other", 13))
    assert len(sequences(store) - copied) == len(sequences(copy) - copied) == 1
    assert sequences(copy) & sequences(store) == copied
    identity = copy.service.ledger_id
    copy.restart()
    assert copy.service.ledger_id == identity
    copy.ledger.close()


def sequences(one: world.World) -> set[int]:
    return {row[0] for row in one.ledger.rows("SELECT sequence FROM readable_events")}
