"""Redelivery and discarding: the operator's choice never breaks an object's order, and is applied once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.recovery import verification
from beacon.store.verbs import delivery_search
from tests.unit.store import world

ADDED, MODIFIED = model.ChangeKind.ADDED, model.ChangeKind.MODIFIED
OVERTAKEN = "a later event of the object has been delivered"


@pytest.fixture
def store(tmp_path: Path) -> world.World:
    made = world.World(tmp_path / "e.db", updates=True)
    made.open()
    made.relist(10)
    return made


def emit(store: world.World, *values: str, name: str = "a") -> None:
    """Set each of these values on an object, one after the other."""
    for value in values:
        (at,) = store.ledger.rows("SELECT resource_version FROM cursors")[0]
        store.observe(at, at + 1, world.seen(name, at + 1, MODIFIED if at > 10 else ADDED, value=value))


def settle(store: world.World, result: model.DeliveryResult, **changes: object) -> model.Delivery:
    """Take the next delivery and let it end so."""
    (delivery,) = store.claim(1).deliveries
    outcome = replace(world.delivered(delivery), result=result, **changes)  # type: ignore[arg-type]
    store.claim(0, outcome)
    return delivery


def fail(store: world.World, value: str) -> model.Delivery:
    """Emit an event whose delivery fails."""
    emit(store, value)
    return settle(store, model.DeliveryResult.FAILED, code="401", status=401)


def found(store: world.World, **given: object) -> tuple[wire.DeliverySummary, ...]:
    reply = store.ask(wire.FindDeliveries(selection=wire.DeliveryFilter(**given)))  # type: ignore[arg-type]
    assert isinstance(reply, wire.DeliveryPage)
    return reply.deliveries


def pairs(listed: Sequence[wire.DeliverySummary]) -> tuple[tuple[int, int], ...]:
    return tuple((one.delivery, one.generation) for one in listed)


def redeliver(store: world.World, *listed: wire.DeliverySummary, out_of_order: bool = False) -> list[str]:
    """Ask for it and give why not, of those that were refused."""
    reply = store.ask(wire.Redeliver(deliveries=pairs(listed), out_of_order=out_of_order))
    assert isinstance(reply, wire.ActionResult)
    assert reply.done + len(reply.refused) == reply.taken
    assert all(one.endpoint for one in reply.refused if one.event_id)
    return [one.why for one in reply.refused]


def states(store: world.World) -> list[str]:
    return [one.state.value for one in found(store)]


def sound(store: world.World) -> list[str]:
    return list(verification.inconsistencies(store.ledger))


def test_a_failed_delivery_is_redelivered_with_its_id_and_sequence_and_marked(store: world.World) -> None:
    emit(store, "one")
    first = settle(store, model.DeliveryResult.FAILED)

    assert redeliver(store, *found(store)) == []

    (again,) = store.claim(1).deliveries
    assert (again.id, again.event_id, again.sequence) == (first.id, first.event_id, first.sequence)
    assert (again.generation, again.redelivered, again.attempts, again.requests) == (1, True, 0, 0)
    assert not again.out_of_order
    store.claim(0, world.delivered(again))
    assert states(store) == ["delivered"]
    assert sound(store) == []


def test_asking_twice_is_asking_once(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    asked = found(store)

    assert redeliver(store, *asked) == []
    assert redeliver(store, *asked) == []

    assert [one.generation for one in found(store)] == [1]
    settle(store, model.DeliveryResult.DELIVERED)
    assert redeliver(store, *asked) == []
    assert states(store) == ["delivered"]


def test_a_late_settlement_of_an_earlier_generation_is_ignored(store: world.World) -> None:
    emit(store, "one")
    first = settle(store, model.DeliveryResult.FAILED)
    redeliver(store, *found(store))

    store.claim(0, world.delivered(first))

    assert states(store) == ["ready"]


def test_an_open_delivery_is_not_redelivered(store: world.World) -> None:
    emit(store, "one")

    assert redeliver(store, *found(store)) == ["it is open, and will be delivered"]

    assert [one.generation for one in found(store)] == [0]


def test_it_waits_for_the_one_that_is_open_and_what_comes_waits_for_it(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "two")
    (open_,) = store.claim(1).deliveries
    redeliver(store, found(store)[0])
    emit(store, "three")
    assert states(store) == ["queued", "ready", "queued"]

    store.claim(0, replace(world.delivered(open_), result=model.DeliveryResult.FAILED))

    assert states(store) == ["ready", "failed", "queued"]
    settle(store, model.DeliveryResult.DELIVERED)
    assert states(store) == ["delivered", "failed", "ready"]
    assert sound(store) == []


def test_it_falls_back_to_failed_when_a_later_one_is_delivered_while_it_waits(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "two", "three")
    redeliver(store, found(store)[0])

    settle(store, model.DeliveryResult.DELIVERED)

    assert states(store) == ["failed", "delivered", "ready"]
    assert found(store)[0].reason == OVERTAKEN


@pytest.mark.parametrize("restarted_first", [False, True])
@pytest.mark.parametrize("answer_lost", [False, True])
def test_what_may_have_arrived_goes_before_an_earlier_one_whatever_restarts(
    store: world.World, restarted_first: bool, answer_lost: bool
) -> None:
    """`ready` is kept from the first request to the last answer, so that it marks begun requests in the file."""
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "two")
    (asked,) = store.claim(1).deliveries
    if answer_lost:
        lost = replace(world.delivered(asked), result=model.DeliveryResult.RETRY, code="timeout", delay_s=60.0)
        store.claim(0, lost)
    if restarted_first:
        store.restart()
    redeliver(store, found(store)[0])
    store.restart()

    assert store.claim(0, session="new", number=1).deliveries == ()
    store.clock.advance(120)
    (first,) = store.claim(10, session="new", number=2).deliveries

    assert first.id == asked.id
    store.claim(0, world.delivered(first), session="new", number=3)
    assert states(store) == ["failed", "delivered"]
    assert found(store)[0].reason == OVERTAKEN
    assert sound(store) == []


def test_after_a_later_one_was_delivered_it_is_refused_unless_asked_for_out_of_order(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "two")
    settle(store, model.DeliveryResult.DELIVERED)
    late = found(store)[0]

    assert redeliver(store, late) == [OVERTAKEN]
    assert states(store) == ["failed", "delivered"]
    assert redeliver(store, late, out_of_order=True) == []

    again = settle(store, model.DeliveryResult.DELIVERED)
    assert (again.out_of_order, again.redelivered) == (True, True)
    assert states(store) == ["delivered", "delivered"]


def test_a_later_one_that_was_cleaned_away_counts_as_delivered(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "two")
    settle(store, model.DeliveryResult.DELIVERED)
    emit(store, "three")
    settle(store, model.DeliveryResult.FAILED)
    store.clock.advance(3600)
    store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=60))
    assert states(store) == ["failed", "failed"]

    assert redeliver(store, *found(store)) == [OVERTAKEN]

    assert states(store) == ["failed", "ready"]


def test_what_was_delivered_once_was_delivered_whatever_becomes_of_its_redelivery(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "two")
    settle(store, model.DeliveryResult.DELIVERED)
    one, two = found(store)
    assert redeliver(store, two) == []
    assert redeliver(store, one) == [OVERTAKEN]

    settle(store, model.DeliveryResult.FAILED)

    assert redeliver(store, found(store)[0]) == [OVERTAKEN]
    assert states(store) == ["failed", "failed"]


def test_events_of_a_successor_are_not_pruned_while_an_earlier_delivery_of_the_name_has_failed(
    store: world.World,
) -> None:
    for uid, results in (("u1", (model.DeliveryResult.FAILED,) * 2), ("u2", (model.DeliveryResult.DELIVERED,) * 2)):
        for change, result in zip((ADDED, model.ChangeKind.DELETED), results, strict=True):
            (at,) = store.ledger.rows("SELECT resource_version FROM cursors")[0]
            store.observe(at, at + 1, world.seen("a", at + 1, change, uid=uid))
            settle(store, result)
    store.observe(14, 20)
    store.clock.advance(3600)
    for table in (wire.Prunable.OBJECTS, wire.Prunable.EVENTS):
        store.ask(wire.Prune(table=table, older_than_s=60))

    assert (
        redeliver(store, *[one for one in found(store) if one.state is model.DeliveryState.FAILED]) == [OVERTAKEN] * 2
    )


def test_another_objects_events_are_nothing_to_it(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "one", name="b")
    settle(store, model.DeliveryResult.DELIVERED)

    assert redeliver(store, found(store)[0]) == []


def test_several_of_one_object_go_in_their_order(store: world.World) -> None:
    emit(store, "one", "two", "three")
    for _ in range(3):
        settle(store, model.DeliveryResult.FAILED)

    assert redeliver(store, *found(store)) == []

    assert states(store) == ["ready", "queued", "queued"]
    went = [settle(store, model.DeliveryResult.DELIVERED).sequence for _ in range(3)]
    assert went == sorted(went)
    assert states(store) == ["delivered"] * 3


def test_it_goes_to_the_endpoint_that_is_configured_now(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.DELIVERED)
    store.ledger.run("UPDATE endpoints SET name = 'former'")
    store.restart()
    store.open()

    redeliver(store, *found(store))

    assert [one.endpoint for one in found(store)] == ["default"]
    settle(store, model.DeliveryResult.DELIVERED)


def test_a_request_takes_a_bounded_part_from_the_front(store: world.World) -> None:
    for number in range(60):
        emit(store, "one", name=f"o{number}")
        settle(store, model.DeliveryResult.FAILED)

    reply = store.ask(wire.Redeliver(deliveries=pairs(found(store))))

    assert 0 < reply.taken < 60
    assert reply.done == reply.taken == states(store).count("ready")
    assert states(store)[: reply.taken] == ["ready"] * reply.taken


def test_only_what_failed_can_be_discarded_and_the_reason_stays(store: world.World) -> None:
    emit(store, "one", name="a")
    settle(store, model.DeliveryResult.FAILED)
    emit(store, "one", name="b")
    failed, open_ = found(store)

    reply = store.ask(wire.Discard(deliveries=pairs((failed, open_)), reason="the tenant is gone"))
    again = store.ask(wire.Discard(deliveries=pairs((failed,)), reason="another"))

    assert (reply.taken, reply.done, [one.delivery for one in reply.refused]) == (2, 1, [open_.delivery])
    assert (again.done, again.refused) == (1, ())
    assert states(store) == ["discarded", "ready"]
    assert found(store)[0].reason == "the tenant is gone"


def test_a_discarded_one_is_cleaned_away_after_its_time_and_a_failed_one_never(store: world.World) -> None:
    emit(store, "one", "two", "three")
    for _ in range(3):
        settle(store, model.DeliveryResult.FAILED)
    store.ask(wire.Discard(deliveries=pairs(found(store)[:1]), reason="x"))

    store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=60))
    assert states(store) == ["discarded", "failed", "failed"]
    store.clock.advance(3600)
    store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=60))

    assert states(store) == ["failed", "failed"]


def test_a_discarded_one_may_be_wanted_after_all(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    store.ask(wire.Discard(deliveries=pairs(found(store)), reason="x"))

    assert redeliver(store, *found(store)) == []

    settle(store, model.DeliveryResult.DELIVERED)
    assert (states(store), found(store)[0].reason) == (["delivered"], "")


def test_a_missing_delivery_is_refused_with_the_reason(store: world.World) -> None:
    reply = store.ask(wire.Redeliver(deliveries=((7, 0),)))

    assert [one.why for one in reply.refused] == ["it no longer exists"]


def test_a_restart_knows_what_was_asked_for(store: world.World) -> None:
    emit(store, "one")
    settle(store, model.DeliveryResult.FAILED)
    redeliver(store, *found(store), out_of_order=True)

    store.restart()

    (again,) = store.claim(1).deliveries
    assert (again.generation, again.out_of_order) == (1, True)


# Failed deliveries beyond retention.failedPeriod


def discard_old(store: world.World, age_s: float) -> int:
    """Walk as the cleaner does; return the number of discarded deliveries."""
    discarded, after, more = 0, 0, True
    while more:
        reply = store.ask(wire.DiscardOld(older_than_s=age_s, after=after))
        assert isinstance(reply, wire.DiscardedOld), reply
        discarded, after, more = discarded + reply.discarded, reply.after, reply.more
    return discarded


def test_only_deliveries_that_failed_longer_ago_are_discarded_and_once(store: world.World) -> None:
    fail(store, "one")
    emit(store, "two")
    settle(store, model.DeliveryResult.DELIVERED)
    store.clock.advance(50)
    fail(store, "three")
    emit(store, "four")
    store.clock.advance(50)

    assert (discard_old(store, 60), states(store)) == (1, ["discarded", "delivered", "failed", "ready"])
    first = found(store)[0]
    assert (first.reason, first.settled_us) == ("failed longer ago than retention.failedPeriod", store.clock.us)
    assert discard_old(store, 60) == 0
    assert sound(store) == []


def test_the_age_begins_with_the_last_failure(store: world.World) -> None:
    fail(store, "one")
    store.clock.advance(100)
    redeliver(store, *found(store))
    settle(store, model.DeliveryResult.FAILED)
    store.clock.advance(50)

    assert discard_old(store, 60) == 0


def test_a_clock_that_was_set_forward_discards_nothing_early(store: world.World) -> None:
    fail(store, "one")
    store.clock.jump(1000)
    store.claim(0)

    assert discard_old(store, 60) == 0


def test_one_request_examines_a_bounded_number_of_deliveries(store: world.World) -> None:
    for number in range(260):
        fail(store, str(number))
    store.clock.advance(100)

    first = store.ask(wire.DiscardOld(older_than_s=60))

    assert (first.discarded, first.more) == (250, True)
    assert discard_old(store, 60) == 10


def test_a_discarded_old_delivery_can_be_redelivered(store: world.World) -> None:
    fail(store, "one")
    store.clock.advance(100)
    discard_old(store, 60)

    assert redeliver(store, *found(store)) == []
    assert states(store) == ["ready"]


# The record of actions

ALICE = wire.OperatorCommand(id="c1", actor="alice (uid 1000) on node7")


def recorded(store: world.World, number: int = 0) -> list[tuple[int, str, str, str]]:
    wanted = found(store)[number].event_id
    (one,) = [each for each in store.ask(wire.Explain(target=wanted)).events if each.id == wanted]
    return [(each.generation, each.action.value, each.actor, each.reason) for each in one.actions]


def test_who_redelivered_and_discarded_is_recorded_with_the_reason(store: world.World) -> None:
    fail(store, "one")
    store.ask(wire.Discard(deliveries=pairs(found(store)), reason="by hand", operation=ALICE))
    again = wire.Redeliver(deliveries=pairs(found(store)), operation=ALICE)
    store.ask(again)
    store.ask(again)  # a repetition

    assert recorded(store) == [
        (0, "discarded", ALICE.actor, "by hand"),
        (1, "redelivered", ALICE.actor, ""),
    ]


def test_a_refused_action_is_not_recorded(store: world.World) -> None:
    emit(store, "one")
    store.ask(wire.Redeliver(deliveries=pairs(found(store)), operation=ALICE))

    assert recorded(store) == []


def test_the_record_of_a_delivery_is_bounded(store: world.World) -> None:
    fail(store, "one")
    for number in range(30):
        actor = wire.OperatorCommand(id="c", actor=f"{number} " + "x" * 10_000)
        store.ask(wire.Redeliver(deliveries=pairs(found(store)), operation=actor))
        settle(store, model.DeliveryResult.FAILED)

    kept = recorded(store)
    assert [actor.split()[0] for _, _, actor, _ in kept] == [str(number) for number in range(20, 30)]
    assert {len(actor) for _, _, actor, _ in kept} == {200}
    store.ask(wire.Discard(deliveries=pairs(found(store)), reason="r" * 10_000, operation=ALICE))
    assert len(recorded(store)[-1][3]) == len(found(store)[0].reason) == 500


def test_the_record_is_removed_with_its_event(store: world.World) -> None:
    fail(store, "one")
    store.ask(wire.Redeliver(deliveries=pairs(found(store)), operation=ALICE))
    settle(store, model.DeliveryResult.DELIVERED)
    emit(store, "two")
    settle(store, model.DeliveryResult.DELIVERED)
    store.clock.advance(3600)

    store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=60))

    assert store.ledger.rows("SELECT * FROM actions") == []
    assert len(found(store)) == 1


def test_failed_deliveries_are_counted_by_code_page_by_page(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_search, "_SCANNED_ROWS", 3)
    for value in "abcd":
        fail(store, value)
    emit(store, "e")
    settle(store, model.DeliveryResult.FAILED, code="400", status=400)
    emit(store, "f")
    settle(store, model.DeliveryResult.DELIVERED)

    counts: Counter[str] = Counter()
    after, more, pages = 0, True, 0
    while more:
        page = store.ask(wire.CountFailed(endpoint="default", after=after))
        counts.update(page.counts)
        after, more, pages = page.after, page.more, pages + 1

    assert (counts, pages) == ({"401": 4, "400": 1}, 3)
    assert store.ask(wire.CountFailed(endpoint="other")).counts == {}
