"""Claims and settlements: order per object, fences, repeats, retries, charges, probes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model
from tests.unit.store import world

CHANGES = (model.ChangeKind.ADDED, model.ChangeKind.DELETED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", updates=True)
    opened.open()
    opened.relist(10)
    yield opened
    opened.ledger.close()


def outcome(delivery: model.Delivery, result: model.DeliveryResult, **changes: Any) -> model.Outcome:
    answered = replace(world.delivered(delivery), result=result, code="500", status=500)
    return replace(answered, **changes)


def names_of(claimed: wire.Claimed) -> list[str]:
    return [delivery.name for delivery in claimed.deliveries]


def held(*deliveries: model.Delivery) -> tuple[int, ...]:
    return tuple(each.id for each in deliveries)


def row(store: world.World, delivery: model.Delivery, columns: str) -> Any:
    found = store.ledger.row(f"SELECT {columns} FROM readable_deliveries WHERE id = ?", (delivery.id,))
    assert found is not None
    return found


def test_an_objects_deliveries_go_out_one_at_a_time_and_in_order(store: world.World) -> None:
    world.emit(store, "a", "a", "a", "b")

    first = store.claim()
    nothing = store.claim(held=held(*first.deliveries))
    a, b = first.deliveries
    second = store.claim(100, world.delivered(a), held=held(b))

    assert names_of(first) == ["a", "b"]
    assert nothing.deliveries == ()
    assert names_of(second) == ["a"]
    assert second.deliveries[0].previous == a.sequence


def test_a_delivery_that_was_tried_in_a_ledger_before_its_rescue_goes_out_when_its_turn_comes(
    store: world.World,
) -> None:
    world.emit(store, "a", "a")
    store.ledger.run("UPDATE deliveries SET requests = 1 WHERE state = 'queued'")

    (first,) = store.claim().deliveries
    store.claim(0, world.delivered(first))
    second = store.claim()

    assert names_of(second) == ["a"]


def test_objects_do_not_wait_for_each_other(store: world.World) -> None:
    world.emit(store, "a", "b", "a", "b")
    a, b = store.claim().deliveries

    claimed = store.claim(100, world.delivered(b), outcome(a, model.DeliveryResult.RETRY, delay_s=60.0))

    assert names_of(claimed) == ["b"]


def test_a_held_delivery_is_not_leased_again(store: world.World) -> None:
    world.emit(store, "a", "b")
    claimed = store.claim(1)

    rest = store.claim(held=held(*claimed.deliveries))

    assert names_of(claimed) == ["a"]
    assert names_of(rest) == ["b"]


def test_a_delivery_that_is_neither_held_nor_settled_is_leased_again(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    assert store.claim().deliveries == (delivery,)


def test_the_same_number_is_answered_the_same(store: world.World) -> None:
    world.emit(store, "a", "b")
    first = store.claim(1)

    assert store.claim(1, number=1) == first
    world.emit(store, "c")
    assert store.claim(100, number=1) == first


def test_a_number_that_was_acknowledged_gives_nothing(store: world.World) -> None:
    world.emit(store, "a", "b")
    first = store.claim(1)
    store.claim(0, held=held(*first.deliveries))

    assert store.claim(100, number=1).deliveries == ()


def test_a_pipelined_claim_does_not_free_what_the_reply_before_gave(store: world.World) -> None:
    world.emit(store, "a", "b")
    first = store.claim(1)

    second = store.claim(100, seen=0)  # sent before the first reply had come: it can't name "a" as held
    third = store.claim(100, seen=2, held=held(*first.deliveries, *second.deliveries))

    assert names_of(second) == ["b"]
    assert third.deliveries == ()


def test_a_reply_that_was_seen_but_is_not_held_any_more_is_free(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim(1).deliveries

    assert store.claim(1, outcome(delivery, model.DeliveryResult.RELEASED), seen=1).deliveries == (delivery,)


def test_a_new_session_fences_the_old_one_and_frees_what_it_held(store: world.World) -> None:
    world.emit(store, "a", "b")
    first = store.claim(1)

    taken_over = store.claim(100, session="new", number=1)
    late = store.claim(100, number=2, held=held(*first.deliveries))

    assert names_of(taken_over) == ["a", "b"]
    assert late.fenced
    assert late.deliveries == ()


def test_a_fenced_session_still_settles_what_it_did(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, session="new", number=1)

    assert store.claim(0, world.delivered(delivery), number=2).fenced

    assert row(store, delivery, "state") == ("delivered",)
    assert store.claim(100, session="new", number=2).deliveries == ()


def test_what_a_fenced_session_delivered_is_not_sent_again_although_its_successor_failed_with_it(
    store: world.World,
) -> None:
    world.emit(store, "a", "a")
    (old,) = store.claim().deliveries
    (same,) = store.claim(session="new", number=1).deliveries
    store.claim(0, outcome(same, model.DeliveryResult.RETRY), session="new", number=2)

    store.claim(0, world.delivered(old), number=2)

    assert row(store, old, "state, requests, attempts") == ("delivered", 1, 1)
    assert [each.id for each in store.claim(session="new", number=3).deliveries] != [old.id]


def test_a_session_that_the_store_does_not_know_keeps_what_it_holds(store: world.World) -> None:
    world.emit(store, "a", "b")
    claimed = store.claim(1)
    store.restart()

    again = store.claim(100, number=7, held=held(*claimed.deliveries))

    assert names_of(again) == ["b"]
    assert not again.fenced


def test_a_settlement_is_applied_once(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    retry = outcome(delivery, model.DeliveryResult.RETRY, delay_s=5.0)

    store.claim(0, retry)
    store.claim(0, retry, retry)

    assert row(store, delivery, "attempts, requests, state") == (1, 1, "ready")
    assert store.ledger.rows("SELECT count(*) FROM readable_attempts") == [(1,)]


@pytest.mark.parametrize(
    "late", [model.DeliveryResult.RETRY, model.DeliveryResult.FAILED, model.DeliveryResult.CHARGED]
)
def test_what_was_delivered_stays_so(store: world.World, late: model.DeliveryResult) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, world.delivered(delivery))

    store.claim(0, outcome(delivery, late, attempt=2))

    assert row(store, delivery, "state, requests, last_status") == ("delivered", 1, 204)


def test_a_retry_is_leased_when_it_is_due_and_not_before(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY, delay_s=5.0))
    early = store.claim()
    store.clock.advance(4.9)
    still_early = store.claim()
    store.clock.advance(0.1)
    (again,) = store.claim().deliveries

    assert early.deliveries == still_early.deliveries == ()
    assert early.backlog == 1
    assert (again.id, again.attempts, again.requests) == (delivery.id, 1, 1)
    assert again.data == delivery.data


def test_a_retry_schedule_survives_the_store(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY, delay_s=5.0))
    store.restart()

    assert store.claim(number=9).deliveries == ()
    store.clock.advance(5)
    assert names_of(store.claim(number=10)) == ["a"]


def test_a_failed_delivery_lets_the_next_of_its_object_go(store: world.World) -> None:
    world.emit(store, "a", "a")
    (first,) = store.claim().deliveries

    (second,) = store.claim(100, outcome(first, model.DeliveryResult.FAILED, status=400)).deliveries

    assert second.sequence > first.sequence
    assert row(store, first, "state, last_status") == ("failed", 400)


def test_a_failed_delivery_that_arrived_after_all_is_delivered(store: world.World) -> None:
    world.emit(store, "a", "a")
    (first,) = store.claim().deliveries
    (second,) = store.claim(100, outcome(first, model.DeliveryResult.FAILED)).deliveries

    store.claim(0, replace(world.delivered(first), attempt=2), held=held(second))

    assert row(store, first, "state") == ("delivered",)
    assert row(store, second, "state") == ("ready",)


def test_a_late_retry_does_not_open_a_failed_delivery(store: world.World) -> None:
    world.emit(store, "a", "a")
    (first,) = store.claim().deliveries
    store.claim(0, outcome(first, model.DeliveryResult.FAILED))

    store.claim(0, outcome(first, model.DeliveryResult.RETRY, attempt=2))

    assert row(store, first, "state, requests") == ("failed", 2)
    assert store.ledger.rows("SELECT count(*) FROM readable_deliveries WHERE state = 'ready'") == [(1,)]


def test_a_charge_counts_a_forgiven_attempt_once(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY, counted=False, forgiven=True, delay_s=60.0))
    assert row(store, delivery, "attempts, forgiven") == (0, 1)

    for _ in range(2):
        store.claim(0, outcome(delivery, model.DeliveryResult.CHARGED))

    assert row(store, delivery, "attempts, requests, forgiven") == (1, 1, 0)


def test_a_charge_of_what_counted_already_counts_nothing(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY))

    store.claim(0, outcome(delivery, model.DeliveryResult.CHARGED))

    assert row(store, delivery, "attempts") == (1,)


def test_a_charge_can_be_the_last_attempt_of_an_event(store: world.World) -> None:
    world.emit(store, "a", "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY, counted=False))
    charged = outcome(delivery, model.DeliveryResult.CHARGED)

    (following,) = store.claim(100, charged, replace(charged, result=model.DeliveryResult.FAILED)).deliveries

    assert row(store, delivery, "state, attempts, requests") == ("failed", 1, 1)
    assert following.previous == delivery.sequence


def test_released_costs_nothing(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    assert store.claim(100, outcome(delivery, model.DeliveryResult.RELEASED)).deliveries == (delivery,)


def test_a_settlement_of_another_generation_is_not_applied(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    store.claim(0, replace(world.delivered(delivery), generation=1))

    assert row(store, delivery, "state") == ("ready",)


def test_a_settlement_of_nothing_known_changes_nothing(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    reply = store.claim(0, replace(world.delivered(delivery), delivery=999), replace(world.delivered(delivery)))

    assert not reply.fenced
    assert row(store, delivery, "state") == ("delivered",)


@pytest.mark.parametrize("result", list(model.DeliveryResult))
def test_what_waits_for_an_earlier_event_of_its_object_can_not_be_settled(
    store: world.World, result: model.DeliveryResult
) -> None:
    world.emit(store, "a", "a")
    (first,) = store.claim().deliveries
    (second,) = store.ledger.rows("SELECT id FROM readable_deliveries WHERE state = 'queued'")[0]

    store.claim(0, replace(outcome(first, result), delivery=second), held=held(first))

    assert store.ledger.rows("SELECT state FROM readable_deliveries ORDER BY id") == [("ready",), ("queued",)]


@pytest.mark.parametrize("attempt", [0, -1])
def test_a_settlement_of_an_attempt_that_was_not_made_is_ignored(store: world.World, attempt: int) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    store.claim(0, outcome(delivery, model.DeliveryResult.FAILED, attempt=attempt))

    assert row(store, delivery, "state, requests") == ("ready", 0)


def test_a_settlement_may_concern_another_endpoint_than_its_claim(store: world.World) -> None:
    world.emit(store, "a", "a")
    (delivery,) = store.claim().deliveries

    store.claim(0, world.delivered(delivery), endpoint="other")

    assert row(store, delivery, "state") == ("delivered",)
    assert names_of(store.claim()) == ["a"]


@pytest.mark.parametrize("delay_s", [1e308, 1e15, -1e308])
@pytest.mark.parametrize("duration_s", [1e308, -5.0])
def test_absurd_durations_are_bounded(store: world.World, delay_s: float, duration_s: float) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY, delay_s=delay_s, duration_s=duration_s))

    (due_us,) = row(store, delivery, "next_attempt_us")
    assert due_us >= store.clock.us


@pytest.mark.parametrize("changes", [{"attempt": 2**63}, {"delivery": 2**63}, {"status": 2**64 - 1}])
def test_a_settlement_beyond_64_bits_is_refused_harmlessly(store: world.World, changes: dict[str, int]) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries

    reply = store.ask(
        wire.Claim(
            endpoint="default",
            session="s",
            number=99,
            want=0,
            wait_s=0,
            settlements=(replace(world.delivered(delivery), **changes),),  # type: ignore[arg-type]
        )
    )

    assert isinstance(reply, wire.Refused)
    assert reply.code is wire.Refusal.FAILED
    assert row(store, delivery, "state, requests") == ("ready", 0)


@pytest.mark.parametrize("want", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_claim_may_want_more_than_there_is(store: world.World, want: int) -> None:
    world.emit(store, "a", "b")
    store.claim(1)

    assert names_of(store.claim(want, seen=0)) == ["b"]


@pytest.mark.parametrize("want", [0, -1, -(2**63)])
def test_a_claim_that_wants_nothing_gets_nothing(store: world.World, want: int) -> None:
    world.emit(store, "a")

    assert store.claim(want).deliveries == ()


def test_a_claim_numbered_below_one_gets_nothing(store: world.World) -> None:
    world.emit(store, "a")

    assert store.claim(number=0).deliveries == store.claim(number=-5).deliveries == ()


def test_a_probe_prefers_the_newest_of_those_that_were_never_attempted(store: world.World) -> None:
    world.emit(store, "tried", "fresh", "fresher")
    tried, *_ = store.claim(1).deliveries
    store.claim(0, outcome(tried, model.DeliveryResult.RETRY))

    assert names_of(store.claim(5, probe=True)) == ["fresher"]


def test_a_probe_takes_the_least_recently_tried_whatever_its_backoff(store: world.World) -> None:
    world.emit(store, "a", "b")
    a, b = store.claim().deliveries
    store.claim(0, outcome(b, model.DeliveryResult.RETRY, delay_s=9999.0), held=held(a))
    store.clock.advance(1)
    store.claim(0, outcome(a, model.DeliveryResult.RETRY, delay_s=1.0))
    store.clock.advance(5)

    (first,) = store.claim(1, probe=True).deliveries
    (second,) = store.claim(1, probe=True, held=held(first)).deliveries

    assert (first.name, second.name) == ("b", "a")


def test_a_probe_for_fresh_events_only_leaves_the_tried_alone(store: world.World) -> None:
    world.emit(store, "a")
    (delivery,) = store.claim().deliveries
    store.claim(0, outcome(delivery, model.DeliveryResult.RETRY))

    assert store.claim(1, probe=True, fresh_only=True).deliveries == ()
    assert names_of(store.claim(1, probe=True)) == ["a"]


def test_resuming_makes_forgiven_retries_due_and_no_others(store: world.World) -> None:
    world.emit(store, "forgiven", "own")
    forgiven, own = store.claim().deliveries
    store.claim(
        0,
        outcome(forgiven, model.DeliveryResult.RETRY, delay_s=60.0, counted=False, forgiven=True),
        outcome(own, model.DeliveryResult.RETRY, delay_s=60.0),
    )
    assert store.claim().deliveries == ()

    assert names_of(store.claim(resume=True)) == ["forgiven"]


def test_fresh_events_come_first_but_retries_get_their_share(store: world.World) -> None:
    world.emit(store, *(f"old{index}" for index in range(10)))
    store.claim(0, *(outcome(each, model.DeliveryResult.RETRY) for each in store.claim().deliveries))
    world.emit(store, *(f"new{index}" for index in range(100)))

    names = names_of(store.claim(20))

    assert [name[:3] for name in names] == ["new"] * 16 + ["old"] * 4


def test_places_that_fresh_events_leave_go_to_retries(store: world.World) -> None:
    world.emit(store, *(f"old{index}" for index in range(10)))
    store.claim(0, *(outcome(each, model.DeliveryResult.RETRY) for each in store.claim().deliveries))
    world.emit(store, "new")

    assert len(store.claim(8).deliveries) == 8


def test_the_backlog_counts_what_is_ready_beyond_what_is_out(store: world.World) -> None:
    world.emit(store, "a", "b", "c", "c")

    first = store.claim(1)
    second = store.claim(1, held=held(*first.deliveries))

    assert (first.backlog, second.backlog) == (2, 1)


@pytest.mark.slow
def test_five_thousand_deliveries_all_arrive_once_and_in_order(store: world.World) -> None:
    for _ in range(10):
        world.emit(store, *(f"o{index % 250}" for index in range(500)))

    ids = store.deliver_all()

    emitted = store.ledger.rows("SELECT id, name FROM readable_events ORDER BY sequence")
    assert len(ids) == len(set(ids)) == 5000
    name_of: dict[str, str] = dict(emitted)
    for name in ("o0", "o249"):
        assert [each for each in ids if name_of[each] == name] == [each for each, other in emitted if other == name]


def test_a_claim_of_large_events_is_answered_in_parts(store: world.World) -> None:
    world.emit(store, *(f"o{number}" for number in range(12)))
    store.ledger.run("UPDATE events SET data = json_object('x', hex(zeroblob(1000000)))")  # 2 MB each

    first = store.claim()
    settled = [world.delivered(one) for one in first.deliveries]
    second = store.claim(100, *settled)

    assert names_of(first) == ["o0", "o1", "o2", "o3"]
    assert names_of(second) == ["o4", "o5", "o6", "o7"]


def test_an_event_larger_than_the_limit_of_a_reply_is_leased_alone(store: world.World) -> None:
    world.emit(store, "a", "b")
    store.ledger.run("UPDATE events SET data = json_object('x', hex(zeroblob(5000000)))")

    assert names_of(store.claim()) == ["a"]
