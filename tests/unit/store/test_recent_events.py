"""`follow` returns every entry once and in order, and reports when it could not."""

from dataclasses import replace
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import endpoints
from beacon.store.verbs import recent_events
from tests.unit.store import world


@pytest.fixture
def store(tmp_path: Path) -> world.World:
    made = world.World(tmp_path / "e.db")
    made.open()
    made.relist(10)
    return made


def follow(store: world.World, after: int) -> wire.RecentEventPage:
    reply = store.ask(wire.Follow(after=after))
    assert isinstance(reply, wire.RecentEventPage)
    return reply


def happened(page: wire.RecentEventPage) -> list[tuple[str, int, str]]:
    return [(one.of.name, one.attempt, one.code) for one in page.happenings]


def test_events_and_requests_come_in_order_and_once(store: world.World) -> None:
    begin = follow(store, -1)
    store.observe(10, 12, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 12, model.ChangeKind.ADDED))
    given = store.claim(2).deliveries
    store.claim(
        0, replace(world.delivered(given[0]), code="503", result=model.DeliveryResult.RETRY), world.delivered(given[1])
    )

    page = follow(store, begin.after)

    assert happened(begin) == []
    assert happened(page) == [("a", 0, ""), ("b", 0, ""), ("a", 1, "503"), ("b", 1, page.happenings[3].code)]
    assert happened(follow(store, page.after)) == []


def test_an_event_has_an_entry_for_each_endpoint_that_gets_it(tmp_path: Path) -> None:
    only_a = endpoints.LedgerEndpoint(name="some", selects=lambda *subject: subject[3] == "a")
    store = world.World(tmp_path / "e.db", endpoints_=(endpoints.LedgerEndpoint(name="all"), only_a))
    store.open()
    store.relist(10)
    begin = follow(store, -1)
    store.observe(10, 12, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 12, model.ChangeKind.ADDED))

    page = follow(store, begin.after)

    assert [(one.of.name, one.of.endpoint) for one in page.happenings] == [("a", "all"), ("a", "some"), ("b", "all")]
    assert happened(follow(store, page.after)) == []


def test_what_is_no_longer_kept_is_counted(store: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_events, "_KEPT", 3)
    store.restart()
    store.open()
    begin = follow(store, -1)
    store.relist(20, *(world.seen(f"o{n}", 11 + n) for n in range(5)))

    page = follow(store, begin.after)

    assert (page.missed, len(page.happenings)) == (2, 3)


def test_a_page_is_bounded_and_continues(store: world.World) -> None:
    begin = follow(store, -1)
    store.observe(10, 160, *(world.seen(f"o{n}", 11 + n, model.ChangeKind.ADDED) for n in range(150)))

    first = follow(store, begin.after)
    second = follow(store, first.after)

    assert 0 < len(first.happenings) < 150
    assert len(first.happenings) + len(second.happenings) == 150


def test_a_restarted_store_reports_the_restart(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    after = follow(store, -1).after

    store.restart()

    page = follow(store, after)
    assert (page.anew, page.happenings) == (True, ())
    assert not follow(store, page.after).anew
