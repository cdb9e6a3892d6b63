"""The wall clock may be set by an hour either way: no retry comes early or an hour late, nothing is forgotten early."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beacon.domain import model
from tests.unit.store import world
from tests.unit.store.test_pruning import come_and_go, names, prune

HOUR_S = 3600.0
DAY_S, YEARS_S = 24 * HOUR_S, 30 * 365 * 24 * HOUR_S
TO_1970_S = -1_700_000_000
FAR_AND_NEAR = pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, DAY_S, -DAY_S, YEARS_S, -YEARS_S, TO_1970_S])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True)
    opened.open()
    opened.relist(10)
    yield opened
    opened.ledger.close()


def postpone(store: world.World, delay_s: float) -> None:
    """Try every ready delivery once, to be retried later."""
    retries = [
        replace(world.delivered(each), result=model.DeliveryResult.RETRY, delay_s=delay_s) for each in given(store)
    ]
    store.claim(0, *retries)


def given(store: world.World) -> list[model.Delivery]:
    return list(store.claim().deliveries)


@FAR_AND_NEAR
def test_a_retry_keeps_its_pause_when_the_clock_is_set(store: world.World, jump_s: float) -> None:
    store.observe(10, 12, *(world.seen(name, at, model.ChangeKind.ADDED) for name, at in (("a", 11), ("b", 12))))
    postpone(store, 60)
    store.clock.advance(20)

    store.clock.jump(jump_s)
    store.clock.advance(39)
    early = given(store)
    store.clock.advance(1)

    assert early == []
    assert len(given(store)) == 2


@FAR_AND_NEAR
def test_a_retry_keeps_its_pause_when_the_clock_is_set_while_the_store_is_down(
    store: world.World, jump_s: float
) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    postpone(store, 60)
    store.claims = 0

    store.clock.jump(jump_s)
    store.clock.advance(59)
    store.restart()
    early = given(store)
    store.clock.advance(1)

    assert early == []
    assert len(given(store)) == 1


def test_a_retry_is_not_an_hour_late_when_the_clock_is_set_back_across_a_reboot(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    postpone(store, 60)
    store.claims = 0

    store.boot = "another"
    store.clock.jump(-HOUR_S)
    store.clock.elapsed_us = 0
    store.restart()
    store.clock.advance(60)

    assert len(given(store)) == 1


@FAR_AND_NEAR
def test_a_probe_is_the_least_recently_tried_delivery_whatever_the_clock_shows(
    store: world.World, jump_s: float
) -> None:
    store.observe(10, 12, *(world.seen(name, at, model.ChangeKind.ADDED) for name, at in (("a", 11), ("b", 12))))
    postpone(store, 600)
    probed = []
    settled: tuple[model.Outcome, ...] = ()
    for round_ in range(6):
        if round_ == 1:
            store.clock.jump(jump_s)
        store.clock.advance(1)
        (probe,) = store.claim(1, *settled, probe=True).deliveries
        settled = (replace(world.delivered(probe), result=model.DeliveryResult.RETRY, delay_s=600),)
        probed.append(probe.name)

    assert probed == ["a", "b"] * 3


@FAR_AND_NEAR
def test_nothing_is_forgotten_early_and_nothing_is_kept_for_ever(store: world.World, jump_s: float) -> None:
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S / 2)

    store.clock.jump(jump_s)
    store.clock.advance(HOUR_S / 4)
    store.claim(0)
    prune(store)
    early = names(store)
    store.clock.advance(2 * HOUR_S)
    prune(store)

    assert early == ["a"]
    assert names(store) == []


@FAR_AND_NEAR
def test_rows_of_a_wrong_clock_are_removed_soon_after_it_was_corrected(store: world.World, jump_s: float) -> None:
    store.clock.jump(jump_s)
    store.claim(0)
    come_and_go(store)
    store.deliver_all()
    store.clock.advance(HOUR_S / 4)

    store.clock.jump(-jump_s)
    store.claim(0)
    store.clock.advance(HOUR_S / 2)
    prune(store)
    early = names(store)
    store.clock.advance(2 * HOUR_S)  # the clock shows the hour after the present twice
    prune(store)

    assert early == ["a"]
    assert names(store) == []
    for table in ("events", "deliveries", "attempts"):
        assert store.ledger.rows(f"SELECT * FROM {table}") == []


@pytest.mark.parametrize("ahead_s", [DAY_S, YEARS_S])
@pytest.mark.parametrize("jumped", [False, True], ids=["hidden", "observed"])
def test_rows_in_the_future_after_a_reboot_are_removed_one_period_later(
    store: world.World, ahead_s: float, *, jumped: bool
) -> None:
    store.clock.jump(ahead_s)
    if jumped:
        store.claim(0)
    else:
        store.boot = "wrong"
        store.restart()
        store.open()
        store.claims = 0
    come_and_go(store)
    store.deliver_all()

    store.boot = "right"
    store.clock.jump(-ahead_s)
    store.clock.elapsed_us = 0
    store.restart()
    store.clock.advance(HOUR_S / 2)
    prune(store)
    early = names(store)
    store.clock.advance(HOUR_S)
    prune(store)

    assert early == ["a"]
    assert names(store) == []
    assert store.ledger.rows("SELECT * FROM events") == []


@pytest.mark.parametrize("table", ["objects.changed_us", "deliveries.settled_us", "attempts.started_us"])
def test_a_timestamp_in_the_future_that_no_jump_explains_is_as_old_as_its_discovery(
    store: world.World, table: str
) -> None:
    come_and_go(store)
    (first,) = given(store)
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.RETRY))  # then two requests are recorded
    store.deliver_all()
    name, column = table.split(".")
    store.ledger.run(f"UPDATE {name} SET {column} = {column} + {int(YEARS_S * 1e6)}")
    store.clock.advance(HOUR_S)
    prune(store)
    early = store.ledger.rows(f"SELECT * FROM {name}")

    store.clock.advance(2 * HOUR_S)
    prune(store)

    assert early
    assert store.ledger.rows(f"SELECT * FROM {name}") == []


def test_a_resumed_retry_is_not_delayed_by_a_clock_that_was_wrong(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    (each,) = given(store)
    store.claim(0, replace(world.delivered(each), result=model.DeliveryResult.RETRY, delay_s=60, counted=False))
    store.ledger.run("UPDATE deliveries SET forgiven = 1")
    store.boot = "wrong"
    store.clock.jump(YEARS_S)
    store.restart()
    store.claims = 0
    store.claim(0, resume=True)
    store.claims = 0

    store.boot = "right"
    store.clock.jump(-YEARS_S)
    store.restart()
    store.clock.advance(60)

    assert len(given(store)) == 1


@FAR_AND_NEAR
def test_new_events_bear_the_time_that_the_clock_shows_after_it_was_set(store: world.World, jump_s: float) -> None:
    store.clock.jump(jump_s)

    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))

    assert store.ledger.rows("SELECT committed_us FROM readable_events") == [(store.clock.us,)]


def test_a_clock_that_is_only_kept_right_moves_nothing(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    postpone(store, 60)
    before = store.ledger.rows("SELECT next_attempt_us FROM readable_deliveries")

    for _ in range(100):
        store.clock.jump(0.5)
        store.claim(0)

    assert store.ledger.rows("SELECT next_attempt_us FROM readable_deliveries") == before
    assert store.ledger.rows("SELECT * FROM jumps") == []
