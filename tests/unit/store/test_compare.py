"""Comparisons with the cluster: changes that the watcher can no longer deliver are emitted, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import codec, wire
from beacon.domain import model, rules
from beacon.store.ledger import cursors
from tests.unit.store import world
from tests.unit.store.world import seen

LISTED = model.ChangeKind.LISTED
NOT = model.RuleVerdict.ANNOTATION


class Comparison:
    """A well-behaved comparison with a list at `at`: `objects` in full, `others` as UIDs without observations."""

    def __init__(
        self,
        of: world.World,
        at: int,
        *objects: model.Observation,
        others: dict[str, int] | None = None,
        scope: rules.Scope | None = None,
        nonce: str = "n",
    ) -> None:
        self.world = of
        scope = scope or of.scopes[0]
        listed = {one.uid: one.resource_version for one in objects} | (others or {})
        named: dict[str, Any] = {"scope": scope.id, "nonce": nonce}
        self.open = wire.CompareOpen(**named, fingerprint=scope.fingerprint)
        self.begin = wire.CompareBegin(**named, at=at, api_version=scope.api_version)
        self.page = wire.ComparePage(
            **named,
            at=at,
            number=0,
            uids=tuple(listed),
            versions=tuple(listed.values()),
            observations=tuple(replace(one, change=LISTED) for one in objects),
        )
        self.end = wire.CompareEnd(**named, at=at, pages=1, count=len(listed))

    def ask(self, *requests: wire.AnyRequest) -> wire.Compared:
        reply = [self.world.ask(request) for request in requests][-1]
        assert isinstance(reply, wire.Compared), reply
        return reply

    def run(self) -> wire.Compared:
        return self.ask(self.open, self.begin, self.page, self.end)


@pytest.fixture
def one(tmp_path: Path) -> world.World:
    """Create a world whose scope was listed at 10 with `a` in it."""
    made = world.World(tmp_path / "e.db", updates=True)
    made.open()
    made.relist(10, seen("a", 5))
    made.clock.advance(60)
    return made


def forget(of: world.World, name: str) -> None:
    of.ledger.begin()
    of.ledger.run("DELETE FROM objects WHERE key = (SELECT id FROM order_keys WHERE name = ?)", (name,))
    of.ledger.commit()


def events_since(of: world.World, count: int = 1) -> list[tuple[str, str, str]]:
    return of.events()[count:]


def test_a_list_with_an_object_without_a_uid_deletes_nothing(one: world.World) -> None:
    comparison = Comparison(one, 10)
    comparison.end = replace(comparison.end, identified=False)

    reply = comparison.run()

    assert (reply.place, reply.deleted) == (wire.ApplyResult.APPLIED, 0)
    assert Comparison(one, 10, nonce="m").run().deleted == 1


def test_no_event_is_emitted_without_a_difference(one: world.World) -> None:
    reply = Comparison(one, 10, seen("a", 5), others={"uid-other": 7}).run()

    assert reply.place is wire.ApplyResult.APPLIED
    assert (reply.created, reply.updated, reply.deleted) == (0, 0, 0)
    assert events_since(one) == []


def test_a_missed_change_is_emitted_with_the_interval_in_which_it_happened(one: world.World) -> None:
    one.observe(10, 20)

    reply = Comparison(one, 20, seen("b", 15)).run()

    assert (reply.created, reply.updated, reply.deleted) == (1, 0, 1)
    assert events_since(one) == [("b", "created", "first-seen"), ("a", "deleted", "object-deleted")]
    for (data,) in one.ledger.rows("SELECT data FROM readable_events WHERE sequence > 1"):
        detection = codec.decode(data)["detection"]
        assert detection["source"] == "reconciliation"
        assert detection["notBefore"] < detection["notAfter"] == detection["detectedAt"]


def test_a_missed_change_of_the_value_is_an_update(one: world.World) -> None:
    one.observe(10, 20)

    reply = Comparison(one, 20, seen("a", 15, value="blue")).run()

    assert reply.updated == 1
    assert events_since(one) == [("a", "updated", "annotation-changed")]


def test_a_missed_loss_of_the_annotation_is_a_deletion(one: world.World) -> None:
    one.observe(10, 20)

    Comparison(one, 20, seen("a", 15, verdict=NOT)).run()

    assert events_since(one) == [("a", "deleted", "annotation-removed")]


def test_the_cursor_is_not_moved_and_no_gap_is_recorded(one: world.World) -> None:
    gaps = one.ledger.rows("SELECT count(*) FROM gaps")

    Comparison(one, 10).run()

    assert one.ledger.rows("SELECT resource_version FROM cursors") == [(10,)]
    assert one.ledger.rows("SELECT count(*) FROM gaps") == gaps


def test_nothing_is_compared_before_the_watcher_has_come_as_far(one: world.World) -> None:
    comparison = Comparison(one, 20, seen("b", 15))

    early = comparison.ask(comparison.open, comparison.begin)
    refused = comparison.ask(comparison.page)
    one.observe(10, 20, seen("b", 15, model.ChangeKind.ADDED))
    reached = comparison.ask(comparison.begin)

    assert not early.reached
    assert refused.place is wire.ApplyResult.OUT_OF_POSITION
    assert reached.reached
    assert set(reached.tracked) == {"uid-a", "uid-b"}
    assert events_since(one) == [("b", "created", "object-created")]


def test_objects_that_the_watcher_observed_after_the_list_are_not_touched(one: world.World) -> None:
    one.observe(
        10,
        30,
        seen("late", 21, model.ChangeKind.ADDED),
        seen("a", 22, model.ChangeKind.DELETED, NOT),
        seen("again", 23, model.ChangeKind.ADDED),
    )
    before = one.events()

    Comparison(one, 20, seen("a", 5), others={"uid-again-before": 9}).run()

    assert one.events() == before


def test_a_name_that_changed_hands_after_the_list_stays_with_its_new_owner(one: world.World) -> None:
    one.observe(
        10, 30, seen("a", 21, model.ChangeKind.DELETED, NOT), seen("a", 22, model.ChangeKind.ADDED, uid="uid-successor")
    )
    before = one.events()

    Comparison(one, 20, seen("a", 5), seen("a", 15, uid="uid-never-seen")).run()

    assert one.events() == before


def test_pages_may_be_mixed_with_what_the_watcher_sees(one: world.World) -> None:
    comparison = Comparison(one, 10, seen("a", 5))
    comparison.ask(comparison.open, comparison.begin)
    one.observe(10, 12, seen("b", 11, model.ChangeKind.ADDED), seen("a", 12, model.ChangeKind.DELETED, NOT))
    comparison.ask(comparison.page)
    one.observe(12, 13, seen("c", 13, model.ChangeKind.ADDED))
    before = one.events()

    reply = comparison.ask(comparison.end)

    assert reply.place is wire.ApplyResult.APPLIED
    assert one.events() == before


def test_every_request_may_be_repeated(one: world.World) -> None:
    one.observe(10, 20)
    comparison = Comparison(one, 20, seen("b", 15))

    replies = [
        (comparison.ask(request), comparison.ask(request))
        for request in (comparison.open, comparison.begin, comparison.page, comparison.end)
    ]

    assert all(first == second for first, second in replies)
    assert len(events_since(one)) == 2


def test_an_incomplete_list_deletes_nothing(one: world.World) -> None:
    comparison = Comparison(one, 10)
    comparison.ask(comparison.open, comparison.begin)

    missing_page = comparison.ask(comparison.end)
    comparison.ask(comparison.page)
    missing_object = comparison.ask(replace(comparison.end, count=1))

    assert missing_page.place is missing_object.place is wire.ApplyResult.OUT_OF_POSITION
    assert events_since(one) == []


def test_drift_makes_the_stream_reopen_without_missing_a_change(one: world.World) -> None:
    one.observe(10, 20)
    Comparison(one, 20, seen("a", 5), seen("b", 15)).run()

    unaware = one.observe(20, 30)
    opened = one.open()

    assert unaware.place is wire.ApplyResult.OUT_OF_POSITION
    assert opened.cursor == 20
    assert "uid-b" in opened.tracked
    assert one.observe(20, 30, seen("b", 25, verdict=NOT)).place is wire.ApplyResult.APPLIED
    assert events_since(one) == [("b", "created", "first-seen"), ("b", "deleted", "annotation-removed")]


def test_a_comparison_that_finds_nothing_leaves_the_stream_in_peace(one: world.World) -> None:
    Comparison(one, 10, seen("a", 5)).run()

    assert one.observe(10, 20).place is wire.ApplyResult.APPLIED


@pytest.mark.parametrize("step", ["begin", "page", "end"])
@pytest.mark.parametrize("event", ["list", "restart", "epoch", "pruned", "expired"])
def test_it_is_dropped_when_something_came_between(one: world.World, step: str, event: str) -> None:
    one.observe(10, 20)
    comparison = Comparison(one, 20, seen("b", 15))
    requests: dict[str, wire.AnyRequest] = {
        "open": comparison.open,
        "begin": comparison.begin,
        "page": comparison.page,
        "end": comparison.end,
    }
    names = list(requests)
    for name in names[: names.index(step)]:
        comparison.ask(requests[name])

    between(one, event)
    before = one.events()
    reply = comparison.ask(requests[step])

    assert reply.place is wire.ApplyResult.OUT_OF_POSITION or (event == "expired" and not reply.reached)
    assert one.events() == before


def between(one: world.World, event: str) -> None:
    opened = one.opened[one.scopes[0].id]
    scope = one.scopes[0].id
    match event:
        case "list":
            one.ask(wire.Expire(scope=scope, session=opened.session, epoch=0, prev=20))
            one.open()
            one.relist(25, seen("a", 5))
        case "restart":
            one.restart()
        case "epoch":
            one.ask(wire.Rewind(scope=scope, session=opened.session, epoch=0, current=3, highest=20))
        case "pruned":
            one.ledger.begin()
            one.ledger.run("UPDATE objects SET resource_version = 21")
            cursors.Cursors(one.ledger, one.service._state).prune(seen("a", 5).uid)
            one.ledger.commit()
        case "expired":
            one.ask(wire.Expire(scope=scope, session=opened.session, epoch=0, prev=20))


def test_another_rule_is_another_configuration(one: world.World) -> None:
    comparison = Comparison(one, 10, seen("a", 5))

    assert comparison.ask(replace(comparison.open, fingerprint="other")).place is wire.ApplyResult.RECONFIGURED


def test_a_list_below_what_had_been_read_before_begins_a_new_epoch_and_deletes_nothing(one: world.World) -> None:
    one.observe(10, 50)
    comparison = Comparison(one, 40)

    reply = comparison.ask(comparison.open, comparison.begin)

    assert reply.place is wire.ApplyResult.OUT_OF_POSITION
    assert one.open().epoch == 1
    assert events_since(one) == []


def test_an_object_older_than_its_row_begins_a_new_epoch(one: world.World) -> None:
    comparison = Comparison(one, 10, seen("a", 4))

    reply = comparison.ask(comparison.open, comparison.begin, comparison.page)

    assert "restored" in reply.why
    assert one.open().epoch == 1
    assert events_since(one) == []


def test_another_cluster_is_refused(one: world.World) -> None:
    refused = one.ask(replace(Comparison(one, 10).open, cluster="another"))

    assert isinstance(refused, wire.Refused)
    assert events_since(one) == []


def test_scopes_do_not_touch_each_other(tmp_path: Path) -> None:
    here, there = world.scope_of(namespaces=("ns",)), world.scope_of(namespaces=("other",))
    foreign = world.scope_of(api_version="example.com/v1")
    made = world.World(tmp_path / "e.db", here, there, foreign)
    for scope in made.scopes:
        made.open(scope)
        made.relist(10, seen("a", 5, uid=f"uid-{scope.id}", namespace=scope.id.namespace or "ns"), scope=scope)
    before = made.events()

    reply = Comparison(made, 10, scope=here).run()

    assert reply.deleted == 1
    (gone,) = made.ledger.rows("SELECT namespace, api_group FROM readable_objects WHERE state = 'gone'")
    assert gone == ("ns", "")
    assert len(made.events()) == len(before) + 1


def test_an_event_is_not_emitted_twice(one: world.World) -> None:
    forget(one, "a")

    Comparison(one, 10, seen("a", 5)).run()

    assert events_since(one) == []
    assert one.ledger.rows("SELECT name, state FROM readable_objects") == [("a", "tracked")]


def test_the_next_comparison_bounds_from_the_start_of_the_last_whole_one(one: world.World) -> None:
    Comparison(one, 10, seen("a", 5), nonce="1").run()
    whole_at = one.clock.us
    one.clock.advance(60)
    one.observe(10, 20)

    Comparison(one, 20, nonce="2").run()

    assert one.ledger.rows("SELECT compared_us FROM cursors") == [(one.clock.us,)]
    (data,) = one.ledger.rows("SELECT data FROM readable_events WHERE sequence = 2")[0]
    assert codec.decode(data)["detection"]["notBefore"].startswith("2023-11-14T22:14:20")
    assert whole_at < one.clock.us
