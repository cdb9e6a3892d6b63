"""The maintained counts agree with a scan of the tables."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.recovery import verification
from tests.unit.store import world


def figures(store: world.World) -> wire.Statistics:
    reply = store.service.handle(wire.Inspect())
    assert isinstance(reply, wire.Statistics)
    return reply


def endpoint(store: world.World) -> wire.EndpointStatistics:
    (only,) = figures(store).endpoints
    return only


def counted(store: world.World, table: str) -> dict[str, int]:
    rows = store.ledger.rows(f"SELECT state, count(*) FROM {table} GROUP BY state")
    return {f"{table}/{state}": number for state, number in rows}


class Work:
    """Random but legal work: objects come, change and go; deliveries are settled in every way."""

    def __init__(self, store: world.World, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.position = 10
        self.present: dict[str, str] = {}
        self.held: dict[int, model.Delivery] = {}

    def change(self) -> None:
        name = f"o{self.chance.randrange(8)}"
        self.position += 1
        deleted = name in self.present and self.chance.random() < 0.3
        uid = self.present.get(name) or f"{name}-{self.position}"
        kind = model.ChangeKind.DELETED if deleted else model.ChangeKind.MODIFIED
        verdict = self.chance.choice([model.RuleVerdict.ACCEPTED, model.RuleVerdict.ACCEPTED, model.RuleVerdict.LABEL])
        seen = world.seen(name, self.position, kind, verdict, uid=uid, value=f"v{self.position}")
        assert self.store.observe(self.position - 1, self.position, seen).place is wire.ApplyResult.APPLIED
        if deleted:
            del self.present[name]
        else:
            self.present[name] = uid

    def deliver(self) -> None:
        settled = [self.outcome(self.held.pop(key)) for key in list(self.held) if self.chance.random() < 0.6]
        held = tuple(each.id for each in self.held.values())
        claimed = self.store.claim(self.chance.randrange(4), *settled, held=held, probe=self.chance.random() < 0.2)
        self.held |= {each.id: each for each in claimed.deliveries}

    def outcome(self, delivery: model.Delivery) -> model.Outcome:
        results = [result for result in model.DeliveryResult if result is not model.DeliveryResult.CHARGED]
        delay_s = self.chance.choice([0.0, 30.0])
        return replace(world.delivered(delivery), result=self.chance.choice(results), delay_s=delay_s)


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_what_the_tables_hold_after_any_work(tmp_path: Path, seed: int) -> None:
    store = world.World(tmp_path / "e.db", updates=True)
    store.open()
    store.relist(10)
    work = Work(store, seed)

    for _ in range(150):
        work.change() if work.chance.random() < 0.5 else work.deliver()
        store.clock.advance(1)
        if work.chance.random() < 0.1:
            check(store, work)
    check(store, work)
    store.restart()
    store.open()
    work.held.clear()
    check(store, work)
    store.ledger.close()


def check(store: world.World, work: Work) -> None:
    assert list(verification.inconsistencies(store.ledger)) == []
    shown = figures(store)
    rows = {name: number for name, number in shown.rows.items() if number}
    assert rows == counted(store, "objects") | counted(store, "deliveries")
    tracked = store.ledger.rows("SELECT count(*) FROM readable_objects WHERE state = 'tracked'")[0][0]
    assert sum(shown.tracked.values()) == tracked
    for one in shown.endpoints:
        check_endpoint(store, one, set(work.held))


def check_endpoint(store: world.World, shown: wire.EndpointStatistics, out: set[int]) -> None:
    ready = store.ledger.rows("SELECT id, requests, next_attempt_us FROM readable_deliveries WHERE state = 'ready'")
    waiting = [one for one, requests, due in ready if one not in out and requests and due > store.clock.us]
    assert shown.in_flight == len(out)
    assert shown.waiting == len(waiting)
    assert shown.ready == len(ready) - len(out) - len(waiting)
    oldest = store.ledger.row(
        "SELECT e.committed_us FROM readable_deliveries d JOIN readable_events e USING (sequence)"
        " WHERE d.state IN ('queued', 'ready')"
        " ORDER BY sequence LIMIT 1"
    )
    assert shown.oldest_us == (oldest[0] if oldest else 0)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = world.World(tmp_path / "e.db")
    opened.open()
    yield opened
    opened.ledger.close()


def test_a_scope_is_not_listed_before_and_during_a_list(store: world.World) -> None:
    before = figures(store).scopes
    store.relist(10, end=False)
    during = figures(store).scopes
    store.open()
    store.relist(11)
    after = figures(store).scopes

    assert [scope.listed for scope in (*before, *during, *after)] == [False, False, True]
    assert (after[0].position, after[0].position_us) == (11, store.clock.us)


def test_a_quiet_scope_shows_when_it_last_asked(store: world.World) -> None:
    store.relist(10)
    store.clock.advance(7)
    store.observe(10, 10)

    assert figures(store).scopes[0].position_us == store.clock.us


def test_a_fresh_event_is_ready_although_a_probe_is_out(store: world.World) -> None:
    store.relist(10, world.seen("a", 5))
    (a,) = store.claim().deliveries
    retry = replace(world.delivered(a), result=model.DeliveryResult.RETRY, delay_s=60.0)
    assert store.claim(1, retry, probe=True).deliveries[0].id == a.id
    held = (a.id,)
    store.observe(10, 11, world.seen("b", 11, model.ChangeKind.ADDED))
    store.claim(0, held=held)

    shown = endpoint(store)

    assert (shown.in_flight, shown.waiting, shown.ready) == (1, 0, 1)


def test_sizes_and_version_are_those_of_the_file(store: world.World) -> None:
    shown = figures(store)

    assert shown.database_bytes == store.path.stat().st_size
    assert shown.wal_bytes == store.path.with_name("e.db-wal").stat().st_size
    assert shown.sqlite_version.startswith("3.")


def test_an_empty_ledger_has_only_the_configured_endpoint(store: world.World) -> None:
    shown = figures(store)

    (one,) = shown.endpoints
    assert (one.endpoint, one.ready, one.failed, one.delivered, one.oldest_us) == ("default", 0, 0, 0, 0)
    assert (dict(shown.tracked), dict(shown.rows), shown.claimed_us) == ({}, {}, 0)
