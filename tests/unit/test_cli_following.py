"""`events --watch` shows each new and each changed delivery once, also across restarts of the store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from beacon import bus, errors, wire
from beacon.cli import following, search
from beacon.domain import model
from tests.unit.store import world


class Client:
    """A client of a store without a socket, whose connection can be lost."""

    def __init__(self, store: world.World) -> None:
        self.store = store
        self.renewed_at = 0.0
        self.failures: list[errors.TransientError] = []

    def try_call(self, request: wire.AnyRequest, *, timeout_s: float) -> Any:
        assert timeout_s > 0
        if self.failures:
            raise self.failures.pop(0)
        return self.store.ask(request)

    def restart(self) -> None:
        self.store.restart()
        self.store.open()
        self.renewed_at += 1


@pytest.fixture
def client(tmp_path: Path) -> Client:
    store = world.World(tmp_path / "e.db", updates=True)
    store.open()
    store.relist(10, world.seen("old", 5))
    return Client(store)


def emit(client: Client, name: str) -> None:
    (at,) = client.store.ledger.rows("SELECT resource_version FROM cursors")[0]
    client.store.observe(at, at + 1, world.seen(name, at + 1, model.ChangeKind.ADDED))


def watching(client: Client, **selection: Any) -> tuple[following.Watch, Iterator[tuple[str, str]]]:
    """Return a watch that has begun, and what it shows."""
    chosen = wire.DeliveryFilter(**selection)
    watch = following.Watch(cast("bus.Client", client), chosen)
    watch.begin()
    for one in search.walk(cast("bus.Client", client), chosen):
        watch.is_new(one)
    return watch, ((one.name, one.state.value) for one in watch.deliveries())


def take(shown: Iterator[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    return [next(shown) for _ in range(number)]


def test_new_events_and_changed_deliveries_are_shown_once(client: Client) -> None:
    _, shown = watching(client)

    emit(client, "a")
    assert take(shown, 1) == [("a", "ready")]
    client.store.deliver_all()
    emit(client, "b")

    assert take(shown, 3) == [("old", "delivered"), ("a", "delivered"), ("b", "ready")]


def test_only_matching_deliveries_are_shown_as_soon_as_they_match(client: Client) -> None:
    _, shown = watching(client, states=(model.DeliveryState.DELIVERED,))

    emit(client, "a")
    client.store.deliver_all()

    assert sorted(take(shown, 2)) == [("a", "delivered"), ("old", "delivered")]


def test_nothing_is_missed_or_repeated_across_a_restart_of_the_store(client: Client) -> None:
    _, shown = watching(client)
    emit(client, "a")
    assert take(shown, 1) == [("a", "ready")]

    emit(client, "b")
    client.store.deliver_all()
    client.restart()  # its memory of recent events is gone
    emit(client, "c")

    assert take(shown, 4) == [("old", "delivered"), ("a", "delivered"), ("b", "delivered"), ("c", "ready")]
    emit(client, "d")
    assert take(shown, 1) == [("d", "ready")]


def test_a_silent_store_is_waited_for_and_reported_once(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    _, shown = watching(client)
    client.failures = [errors.TransientError("the store did not answer")] * 2
    emit(client, "a")

    assert take(shown, 1) == [("a", "ready")]
    assert capsys.readouterr().err == "the store did not answer; waiting for it.\n"


def test_an_interrupted_catching_up_is_repeated(client: Client) -> None:
    _, shown = watching(client)
    client.restart()
    emit(client, "a")
    emit(client, "b")
    assert take(shown, 1) == [("a", "ready")]
    client.failures = [errors.TransientError("lost")]

    emit(client, "c")

    assert take(shown, 2) == [("b", "ready"), ("c", "ready")]


def test_another_ledger_is_followed_from_its_beginning(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown = watching(client)
    client.store = world.World(tmp_path / "other.db", updates=True)
    client.store.open()
    client.store.relist(10, world.seen("new", 5))
    client.failures = [bus.LedgerChanged("the store has another ledger than before")]

    assert take(shown, 1) == [("new", "ready")]
    assert "The ledger was replaced" in capsys.readouterr().err


def test_entries_that_the_store_has_dropped_are_read_from_the_ledger(client: Client) -> None:
    _, shown = watching(client)
    emit(client, "a")
    client.store.service._recent._recent.clear()

    assert take(shown, 1) == [("a", "ready")]


def test_the_memory_of_a_watch_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_REMEMBERED", 3)
    watch, shown = watching(client)

    for number in range(10):
        emit(client, f"o{number}")
    take(shown, 10)

    assert len(watch._shown) == 3
