"""Several endpoints: a delivery for each that selects the event, each with its own order, predecessor and claims."""

import itertools
import math
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import endpoints
from beacon.store.recovery import salvage, verification
from beacon.store.server import disk_guard, service
from beacon.store.verbs import actions, catch_up, endpoint_control, removed_endpoints
from tests.unit.store import world

BEACON = uuid.UUID("6f0c9f0e-3a0b-5d0a-9f57-0f6b3f6a1c52")  # the namespace of event ids
CREATED, UPDATED, DELETED = model.EventType.CREATED, model.EventType.UPDATED, model.EventType.DELETED


def endpoint(name: str, names: str = "", **changes: Any) -> endpoints.LedgerEndpoint:
    """Return an endpoint that selects the objects with these names, one letter each; "": all."""
    one = endpoints.LedgerEndpoint(
        name=name,
        url_digest=name.encode(),
        selects=lambda _group, _kind, _namespace, object_: not names or object_ in names,
        selection=names,
    )
    return replace(one, **changes)


ALL, SOME, ENDS = endpoint("all"), endpoint("some", "ab"), endpoint("ends", types=frozenset({CREATED, DELETED}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def store(path: Path) -> Iterator[world.World]:
    opened = world.World(path, updates=True, endpoints_=(ALL, SOME, ENDS))
    opened.open()
    opened.relist(10)
    yield opened
    assert list(verification.inconsistencies(opened.ledger)) == []
    opened.ledger.close()


def chain(store: world.World, name: str) -> list[tuple[str, str, int, int]]:
    """Return what was written for an endpoint: object, type, sequence and previous."""
    return store.ledger.rows(
        "SELECT e.name, e.type, d.sequence, d.previous FROM readable_deliveries d"
        " JOIN readable_events e ON e.sequence = d.sequence WHERE d.endpoint = ? ORDER BY d.sequence",
        (name,),
    )


def claimed(store: world.World, name: str, *outcomes: model.Outcome, **changes: Any) -> list[model.Delivery]:
    return list(store.claim(100, *outcomes, endpoint=name, **changes).deliveries)


def test_an_event_is_written_once_and_delivered_to_each_endpoint_that_selects_it(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"), world.seen("c", 12, model.ChangeKind.ADDED))
    store.observe(12, 13, world.seen("a", 13, model.ChangeKind.DELETED))

    assert [event[:2] for event in store.events()] == [
        ("a", "created"),
        ("a", "updated"),
        ("c", "created"),
        ("a", "deleted"),
    ]
    assert chain(store, "all") == [
        ("a", "created", 1, 0),
        ("a", "updated", 2, 1),
        ("c", "created", 3, 0),
        ("a", "deleted", 4, 2),
    ]
    assert chain(store, "some") == [("a", "created", 1, 0), ("a", "updated", 2, 1), ("a", "deleted", 4, 2)]
    assert chain(store, "ends") == [("a", "created", 1, 0), ("c", "created", 3, 0), ("a", "deleted", 4, 1)]


def test_an_event_that_no_endpoint_selects_is_kept_and_pruned_like_a_delivered_one(path: Path) -> None:
    store = world.World(path, updates=True, endpoints_=(SOME,))
    store.open()
    store.relist(10)
    store.observe(10, 11, world.seen("c", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("c", 12, value="other"))

    assert [event[:2] for event in store.events()] == [("c", "created"), ("c", "updated")]
    store.clock.advance(7200)
    store.ask(wire.Prune(table=wire.Prunable.EVENTS, older_than_s=60))

    assert [event[:2] for event in store.events()] == [("c", "updated")]
    assert list(verification.inconsistencies(store.ledger)) == []
    store.ledger.close()


def test_each_endpoint_has_its_own_order_and_its_own_claims(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"))

    first = claimed(store, "all")
    assert [one.type for one in first] == [CREATED]
    assert [one.type for one in claimed(store, "some")] == [CREATED]
    second = claimed(store, "all", world.delivered(first[0]))

    assert [one.type for one in second] == [UPDATED]
    assert claimed(store, "some", held=(first[0].id + 1,)) == [], "its first delivery is still under way"


def test_another_notifier_of_one_endpoint_fences_nothing_of_the_others(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    for name in ("all", "some"):
        assert len(claimed(store, name, session="old", number=1)) == 1

    assert len(claimed(store, "all", session="new", number=1)) == 1
    assert store.claim(endpoint="all", session="old", number=2).fenced
    assert not store.claim(endpoint="some", session="old", number=2).fenced


def test_each_endpoint_has_its_own_retries(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    (first,), (other,) = claimed(store, "all"), claimed(store, "some")
    again = replace(world.delivered(first), result=model.DeliveryResult.RETRY, delay_s=5.0, code="timeout")
    assert claimed(store, "all", again) == []
    assert claimed(store, "some", world.delivered(other)) == []
    store.clock.advance(6)

    assert claimed(store, "some") == []
    assert [one.id for one in claimed(store, "all")] == [first.id]


def test_a_discarded_delivery_that_is_made_again_counts_as_what_it_contains(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    restarted(store, ALL, ENDS)
    discard_all(store, "some")
    store.restart(endpoints_=(ALL, SOME, ENDS))  # not compared yet
    discarded = store.ledger.rows("SELECT id FROM deliveries WHERE state = 'discarded'")
    for (delivery,) in discarded:
        store.ask(wire.Redeliver(deliveries=((delivery, 0),)))
    store.claim(0, *map(world.delivered, claimed(store, "some")), endpoint="some")

    accepted = "SELECT count(*) FROM views WHERE id & 4095 = 2 AND accepted > 0 AND accepted_uid IS NOT NULL"
    assert store.ledger.rows(accepted) == [(1,)]


def test_a_reply_that_was_lost_is_repeated_for_its_endpoint_alone(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))

    lost = claimed(store, "all", session="s", number=7)
    other = claimed(store, "some", session="s", number=7)

    assert claimed(store, "all", session="s", number=7) == lost
    assert claimed(store, "some", session="s", number=7) == other
    assert [one.sequence for one in lost] == [one.sequence for one in other]
    assert {one.id for one in lost}.isdisjoint(one.id for one in other)


def test_statistics_are_those_of_each_endpoint(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("c", 11, model.ChangeKind.ADDED))
    first, second = claimed(store, "all")
    failed = replace(world.delivered(first), result=model.DeliveryResult.FAILED)
    store.claim(0, failed, endpoint="all", held=(second.id,))

    found = {one.endpoint: one for one in store.service.handle(wire.Inspect()).endpoints}  # type: ignore[union-attr]

    assert (found["all"].failed, found["all"].in_flight, found["all"].ready) == (1, 1, 0)
    assert (found["some"].failed, found["some"].in_flight, found["some"].ready) == (0, 0, 1)
    assert (found["ends"].ready, found["ends"].oldest_us) == (2, store.clock.us)


# The names at a start.


def names(store: world.World) -> list[tuple[int, str, bool]]:
    return store.ledger.rows("SELECT id, name, removed_us > 0 FROM endpoints ORDER BY id")


def restarted(store: world.World, *configured: endpoints.LedgerEndpoint, **changes: Any) -> None:
    """Restart with these endpoints, and let the store compare what it can."""
    store.restart(endpoints_=configured, **changes)
    store.opened[store.scopes[0].id] = store.open()
    store.catch_up()


def test_names_are_known_by_themselves_whatever_their_order(store: world.World) -> None:
    restarted(store, ENDS, ALL, SOME)

    assert names(store) == [(1, "all", False), (2, "some", False), (3, "ends", False)]


def test_a_removed_name_keeps_its_deliveries_and_gets_no_new_ones(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    restarted(store, ALL)
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))

    assert names(store) == [(1, "all", False), (2, "some", True), (3, "ends", True)]
    assert chain(store, "some") == [("a", "created", 1, 0)]
    assert [what for _, what, *_ in chain(store, "all")] == ["created", "deleted"]


@pytest.mark.parametrize(
    ("before", "after", "renamed"),
    [
        ((ALL,), (replace(ALL, name="new"),), True),
        ((ALL,), (endpoint("new"),), False),  # another URL
        ((ALL, SOME), (replace(ALL, name="new"),), False),  # two at the last start
        ((ALL,), (replace(ALL, name="new"), SOME), False),  # two now
    ],
)
def test_only_one_new_name_for_one_old_one_at_the_same_url_is_a_renaming(
    path: Path, before: tuple[endpoints.LedgerEndpoint, ...], after: tuple[endpoints.LedgerEndpoint, ...], renamed: bool
) -> None:
    store = world.World(path, updates=True, endpoints_=before)
    store.open()
    store.relist(10, world.seen("a", 5))
    restarted(store, *after)

    assert (("all", True) in [(name, removed) for _, name, removed in names(store)]) is not renamed
    assert chain(store, "new") == [("a", "created", 1 if renamed else 2, 0)]
    store.ledger.close()


def test_no_name_that_was_seen_before_is_a_renaming(path: Path) -> None:
    other = replace(ALL, name="other")
    store = world.World(path, endpoints_=(ALL, other))
    for configured in (ALL, other, ALL):
        restarted(store, configured)
        assert [name for _, name, removed in names(store) if not removed] == [configured.name]
    assert len(names(store)) == 2
    store.ledger.close()


def test_a_migrated_ledger_s_endpoint_is_the_only_configured_one(path: Path) -> None:
    store = world.World(path, endpoints_=(ALL,))
    store.open()
    store.relist(10, world.seen("a", 5))
    store.ledger.run("UPDATE endpoints SET url_digest = x'', selection = '', name = 'default'")
    restarted(store, SOME)

    assert names(store) == [(1, "some", False)]
    assert chain(store, "some") == [("a", "created", 1, 0)], "what was written is not written again"
    store.ledger.close()


# Catch-up.


def test_a_new_name_gets_what_exists_and_then_the_changes(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("b", 12, model.ChangeKind.DELETED))
    restarted(store, ALL, SOME, ENDS, endpoint("late"))
    store.observe(12, 13, world.seen("a", 13, value="other"))

    assert chain(store, "late") == [("a", "created", 4, 0), ("a", "updated", 5, 4)]
    assert len(chain(store, "all")) == 4
    (row,) = store.ledger.rows("SELECT id, cause, source FROM readable_events WHERE sequence = 4")
    ledger = store.service.ledger_id
    assert row == (str(uuid.uuid5(BEACON, f"{ledger}/4")), "configuration", "reconciliation")


def test_a_wider_selection_gets_what_is_new_and_a_narrower_one_nothing(store: world.World) -> None:
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abc"))
    restarted(store, ALL, endpoint("some", "a"), ENDS)
    restarted(store, ALL, endpoint("some"), ENDS)
    restarted(store, ALL, SOME, ENDS)

    assert [entry[:2] for entry in chain(store, "some")] == [("a", "created"), ("b", "created"), ("c", "created")]
    assert len(store.events()) == 4


def test_a_name_that_was_away_gets_what_changed_meanwhile(store: world.World) -> None:
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abcd"))
    restarted(store, SOME, ENDS)
    store.observe(11, 12, world.seen("a", 12, value="other"), world.seen("b", 12, model.ChangeKind.DELETED))
    store.observe(12, 13, world.seen("b", 13, model.ChangeKind.ADDED, uid="b2"))
    store.observe(13, 14, world.seen("c", 14, model.ChangeKind.DELETED))
    restarted(store, ALL, SOME, ENDS)

    assert [entry[:2] for entry in chain(store, "all")[4:]] == [
        ("a", "updated"),
        ("b", "deleted"),
        ("b", "created"),
        ("c", "deleted"),
    ]
    assert chain(store, "all")[-3][3] == 2, "previous is the last that was written for it"


def test_what_types_allow_is_caught_up_when_they_change(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"))
    restarted(store, ALL, SOME, replace(ENDS, types=endpoints.ALL_TYPES))

    assert [entry[:2] for entry in chain(store, "ends")] == [("a", "created"), ("a", "updated")]


def test_values_are_caught_up_when_updates_are_switched_on(path: Path) -> None:
    store = world.World(path, updates=False, endpoints_=(ALL,))
    store.open()
    store.relist(10, world.seen("a", 5))
    store.observe(10, 11, world.seen("a", 11, value="other"))
    restarted(store, ALL, updates=True)

    assert [entry[:2] for entry in chain(store, "all")] == [("a", "created"), ("a", "updated")]
    store.ledger.close()


def test_an_object_is_caught_up_before_its_next_event_in_the_same_transaction(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.restart(endpoints_=(ALL, endpoint("late")))
    store.opened[store.scopes[0].id] = store.open()
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))
    store.catch_up()

    assert chain(store, "late") == [("a", "created", 2, 0), ("a", "deleted", 3, 2)]


def test_nothing_is_compared_in_a_scope_without_a_position(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    opened = store.opened[store.scopes[0].id]
    store.ask(wire.Expire(scope=store.scopes[0].id, session=opened.session, epoch=opened.epoch, prev=11))
    restarted(store, ALL, endpoint("late"))
    assert chain(store, "late") == []

    store.relist(20, world.seen("b", 15))
    store.catch_up()

    assert [entry[:2] for entry in chain(store, "late")] == [("a", "created"), ("a", "deleted"), ("b", "created")]


def test_start_now_gets_only_later_changes(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    late = endpoint("late", start=endpoints.StartFrom.NOW)
    restarted(store, ALL, late)
    store.observe(11, 12, world.seen("a", 12, value="other"), world.seen("c", 12, model.ChangeKind.ADDED))
    restarted(store, ALL)
    restarted(store, ALL, late)

    assert [entry[:2] for entry in chain(store, "late")] == [("a", "updated"), ("c", "created")]


def test_an_object_that_is_managed_again_is_compared_at_once(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    narrow = world.scope_of(values=["blue"])
    store.restart(narrow, endpoints_=(ALL,))
    store.open(narrow)
    store.relist(20, world.seen("a", 11, verdict=model.RuleVerdict.ANNOTATION), scope=narrow)
    restarted(store, ALL, endpoint("late"))
    assert chain(store, "late") == [], "an unmanaged object is not compared"

    wide = world.scope_of()
    store.restart(wide)
    store.open(wide)
    store.relist(30, world.seen("a", 25, value="other"), scope=wide)

    assert [entry[:2] for entry in chain(store, "late")] == [("a", "created")]
    assert [entry[:2] for entry in chain(store, "all")] == [("a", "created"), ("a", "updated")]


def test_live_deliveries_precede_those_of_a_catch_up_which_are_a_fifth(store: world.World) -> None:
    many = [f"n{number}" for number in range(40)]
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in many))
    restarted(store, endpoint("late"))
    assert len(chain(store, "late")) == 40
    store.observe(11, 12, *(world.seen(f"m{number}", 12, model.ChangeKind.ADDED) for number in range(20)))

    beside = [one.name[0] for one in store.claim(10, endpoint="late", session="s", number=1).deliveries]
    assert sorted(beside) == ["m"] * 8 + ["n"] * 2
    singly = []
    held: tuple[int, ...] = ()
    for number in range(2, 12):
        (one,) = store.claim(1, endpoint="late", session="s", number=number, held=held, seen=number - 1).deliveries
        singly.append(one.name[0])
        held = (*held, one.id)
    assert singly.count("n") == 2


def test_a_delivery_of_a_catch_up_with_a_live_one_behind_it_counts_as_live(store: world.World) -> None:
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abc"))
    restarted(store, endpoint("late"))
    store.observe(11, 12, world.seen("c", 12, value="other"))

    assert [one.name for one in store.claim(1, endpoint="late").deliveries] == ["c"]


def test_a_catch_up_waits_while_too_much_of_it_waits_to_be_sent(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "MOST_WAITING", 10)
    monkeypatch.setattr(catch_up, "_KEYS_IN_PAGE", 10)
    store.observe(10, 11, *(world.seen(f"n{number}", 11, model.ChangeKind.ADDED) for number in range(35)))
    restarted(store, ALL, endpoint("late"), endpoint("other"))
    assert (len(chain(store, "late")), len(chain(store, "other"))) == (10, 10)

    found = claimed(store, "late", session="s")
    store.claim(0, *map(world.delivered, found), endpoint="late", session="s")
    store.catch_up()

    assert (len(chain(store, "late")), len(chain(store, "other"))) == (20, 10)


def test_beside_live_changes_a_catch_up_writes_little_and_pauses(store: world.World) -> None:
    names = [f"n{number:02}" for number in range(35)]
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in names))
    store.restart(endpoints_=(ALL, endpoint("late")))
    store.open()

    store.observe(11, 12, world.seen("z", 12, model.ChangeKind.ADDED))
    store.service.catch_up()
    caught_up = len(chain(store, "late"))
    pause_s = store.service.longest_wait_s(5)
    store.catch_up()

    assert caught_up == len(chain(store, "late")) == 11
    assert 0 < pause_s < 1
    store.service._turn.live_at = -math.inf
    store.service.process([])
    store.catch_up()
    assert len(chain(store, "late")) == 36


def test_a_page_of_a_catch_up_needs_as_many_statements_as_a_single_object(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statements() -> int:
        executed: list[str] = []

        def counted(execute: Callable[..., Any]) -> Callable[..., Any]:
            def count(sql: str, *values: Any) -> Any:
                executed.append(sql)
                return execute(sql, *values)

            return count

        with monkeypatch.context() as counting:
            for name in ("run", "run_many", "rows", "row"):
                counting.setattr(store.ledger, name, counted(getattr(store.ledger, name)))
            store.service.catch_up()
        return len(executed)

    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.restart(endpoints_=(ALL, endpoint("first")))
    for_one = statements()
    store.open()
    store.observe(11, 12, *(world.seen(f"n{number}", 12, model.ChangeKind.ADDED) for number in range(30)))
    store.restart(endpoints_=(ALL, endpoint("first"), endpoint("second")))

    assert statements() == for_one
    assert len(chain(store, "second")) == 31


# The operator.


def control(store: world.World, request: wire.Request[wire.R]) -> wire.R:
    reply = store.ask(request)
    assert not isinstance(reply, wire.Refused), reply
    return reply  # type: ignore[no-any-return]


def test_a_paused_endpoint_gets_nothing_until_it_is_resumed_whatever_restarts(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    assert control(store, wire.PauseEndpoint(endpoint="all")).changed
    again = control(store, wire.PauseEndpoint(endpoint="all"))
    assert (again.changed, again.since_us) == (False, store.clock.us)

    assert claimed(store, "all") == []
    assert claimed(store, "all", probe=True) == []
    assert len(claimed(store, "some")) == 1
    store.restart()
    assert claimed(store, "all", session="new", number=1) == []

    assert control(store, wire.ResumeEndpoint(endpoint="all")).changed
    assert not control(store, wire.ResumeEndpoint(endpoint="all")).changed
    assert len(claimed(store, "all", session="new", number=2)) == 1


class Notes(service.ServiceListener):
    """Keeps the notes of committed transactions."""

    def __init__(self) -> None:
        self.notes: list[object] = []

    def committed(self, *, requests: int, seconds: float, notes: Sequence[object]) -> None:  # noqa: ARG002
        self.notes += notes


def test_pausing_resuming_and_discarding_are_noted_for_the_log_with_actor_and_reason(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_control, "_AT_ONCE", 2)
    by = wire.OperatorCommand(id="1", actor="alice", left=9)
    store.service._listener = paused = Notes()
    for _ in range(2):
        control(store, wire.PauseEndpoint(endpoint="all", reason="upgrade", operation=by))
    (known,) = [one for one in store.ask(wire.Inspect()).endpoints if one.endpoint == "all"]
    control(store, wire.ResumeEndpoint(endpoint="all", operation=by))
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abc"))
    restarted(store, SOME)
    store.service._listener = discarded = Notes()
    reply = control(store, wire.DiscardEndpoint(endpoint="all", reason="gone", operation=by))
    control(store, wire.DiscardEndpoint(endpoint="all", reason="gone", operation=by, after=reply.after))

    assert (known.paused_by, known.paused_reason) == ("alice", "upgrade")
    halted = [one for one in paused.notes if isinstance(one, endpoint_control.EndpointHalted)]
    assert [(one.paused, one.actor, one.reason) for one in halted] == [(True, "alice", "upgrade"), (False, "alice", "")]
    applied = [one for one in discarded.notes if isinstance(one, actions.ActionsApplied)]
    assert [(one.done, one.left, one.actor, one.reason) for one in applied] == [
        (2, 9, "alice", "gone"),
        (1, 0, "alice", "gone"),
    ]


def test_a_parked_claim_is_answered_when_its_endpoint_is_resumed(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    control(store, wire.PauseEndpoint(endpoint="all"))
    claim = wire.Claim(endpoint="all", session="s", number=1, want=1, wait_s=60)
    assert store.service.process([service.QueuedRequest(sender="n", request=claim)]) == []
    assert store.service.longest_wait_s(5) > 4

    resume = service.QueuedRequest(
        sender="o", request=wire.ResumeEndpoint(endpoint="all"), ledger=store.service.ledger_id
    )
    replies = dict(store.service.process([resume]))

    assert [one.name for one in replies["n"].deliveries] == ["a"]  # type: ignore[union-attr]


def test_a_pause_survives_a_renaming_and_a_removal(path: Path) -> None:
    store = world.World(path, endpoints_=(ALL,))
    control(store, wire.PauseEndpoint(endpoint="all"))
    for configured in (replace(ALL, name="new"), SOME, replace(ALL, name="new")):
        restarted(store, configured)

    assert store.ledger.rows("SELECT name, paused_us > 0 FROM endpoints ORDER BY id") == [("new", 1), ("some", 0)]
    store.ledger.close()


def test_no_delivery_of_a_removed_endpoint_is_leased(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    restarted(store, ALL)

    assert claimed(store, "some") == []
    assert claimed(store, "never seen") == []


def test_an_endpoint_that_the_ledger_does_not_have_cannot_be_paused(store: world.World) -> None:
    for request in (wire.PauseEndpoint(endpoint="x"), wire.ResumeEndpoint(endpoint="x")):
        assert store.ask(request).message == "the ledger has no endpoint x"


def discard_all(store: world.World, name: str) -> int:
    discarded, after, more = 0, 0, True
    while more:
        reply = control(store, wire.DiscardEndpoint(endpoint=name, reason="gone", after=after))
        discarded, after, more = discarded + reply.discarded, reply.after, reply.more
    return discarded


def test_the_return_of_a_removed_endpoint_sends_what_was_discarded_meanwhile(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_control, "_AT_ONCE", 2)
    monkeypatch.setattr(endpoint_control, "_EXAMINED", 3)
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abcd"))
    first, second, *_ = claimed(store, "all")
    failed = replace(world.delivered(second), result=model.DeliveryResult.FAILED)
    store.claim(0, world.delivered(first), failed, endpoint="all")
    store.observe(11, 12, world.seen("a", 12, value="other"), world.seen("c", 12, value="other"))
    store.observe(12, 13, world.seen("c", 13, model.ChangeKind.DELETED))
    assert "configured" in store.ask(wire.DiscardEndpoint(endpoint="all", reason="x")).message
    restarted(store, SOME)
    before = len(chain(store, "all"))

    assert discard_all(store, "all") == before - 1
    assert discard_all(store, "all") == 0
    assert list(verification.inconsistencies(store.ledger)) == []
    restarted(store, ALL, SOME)

    assert [entry[:2] for entry in chain(store, "all")[before:]] == [
        ("a", "updated"),
        ("b", "created"),
        ("d", "created"),
    ]


def test_discarding_sends_nothing_of_what_start_now_left_out(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    late = endpoint("late", start=endpoints.StartFrom.NOW)
    restarted(store, ALL, late)
    store.observe(11, 12, world.seen("a", 12, value="other"))
    restarted(store, ALL)
    assert discard_all(store, "late") == 1
    restarted(store, ALL, late)

    assert [entry[:2] for entry in chain(store, "late")] == [("a", "updated"), ("a", "created")]


def test_a_redelivery_stays_with_its_endpoint(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    (one,) = claimed(store, "some")
    store.claim(0, world.delivered(one), endpoint="some")
    control(store, wire.Redeliver(deliveries=((one.id, 0),)))

    (again,) = claimed(store, "some")
    assert (again.id, again.generation, again.redelivered) == (one.id, 1, True)
    assert len(claimed(store, "all")) == len(claimed(store, "ends")) == 1


# Retention.

DAY_S = 86400.0


def clean(store: world.World, *tables: wire.Prunable, age_s: float = 30 * DAY_S) -> None:
    """Walk through tables as the cleaner does."""
    for table in tables or tuple(wire.Prunable):
        after, more = (0, ""), True
        while more:
            reply = store.ask(wire.Prune(table=table, older_than_s=age_s, after=after))
            assert isinstance(reply, wire.Pruned), reply
            after, more = reply.after, reply.more
            assert list(verification.inconsistencies(store.ledger)) == []


def test_a_removed_endpoint_goes_30_days_after_its_last_delivery_was_settled(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removed_endpoints, "_ROWS_PER_REQUEST", 2)
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abc"))
    for name in ("some", "ends"):
        store.claim(0, *map(world.delivered, claimed(store, name)[:2]), endpoint=name)
    restarted(store, ALL)
    store.clock.advance(29 * DAY_S)
    clean(store, wire.Prunable.ENDPOINTS)
    assert len(names(store)) == 3
    store.clock.advance(2 * DAY_S)
    assert store.ask(wire.Prune(table=wire.Prunable.ENDPOINTS, older_than_s=30 * DAY_S, survey=True)).rows == {
        "endpoints": 1
    }
    clean(store, wire.Prunable.ENDPOINTS)

    assert [name for _, name, _ in names(store)] == ["all", "ends"], "one has open deliveries"
    discard_all(store, "ends")
    clean(store, wire.Prunable.ENDPOINTS)
    assert len(names(store)) == 2
    store.clock.advance(31 * DAY_S)
    monkeypatch.setattr(removed_endpoints, "_ROWS_PER_REQUEST", 500)
    clean(store, wire.Prunable.ENDPOINTS)

    assert [name for _, name, _ in names(store)] == ["all"]
    assert store.ledger.rows("SELECT DISTINCT endpoint FROM deliveries") == [(1,)]
    assert store.ledger.rows("SELECT DISTINCT id & 4095 FROM views") == [(1,)]
    assert store.ledger.rows("SELECT endpoint FROM digests WHERE endpoint <> 1") == []
    assert store.ledger.rows("SELECT name FROM counts WHERE what = 'deliveries' AND name <> '1'") == []
    assert len(chain(store, "all")) == 3
    restarted(store, ALL, SOME)
    assert [entry[:2] for entry in chain(store, "some")] == [("a", "created"), ("b", "created")], "it is a new receiver"


def test_a_name_that_returns_while_its_rows_are_removed_is_a_new_receiver(
    store: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removed_endpoints, "_ROWS_PER_REQUEST", 2)
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    store.claim(0, *map(world.delivered, claimed(store, "some")), endpoint="some")
    restarted(store, ALL)
    store.clock.advance(31 * DAY_S)
    assert store.ask(wire.Prune(table=wire.Prunable.ENDPOINTS, older_than_s=30 * DAY_S)).more
    restarted(store, ALL, SOME)
    clean(store, wire.Prunable.ENDPOINTS)

    assert [entry[:2] for entry in chain(store, "some")] == [("a", "created"), ("b", "created")]
    assert [name for _, name, _ in names(store)] == ["all", "ends", "some"]


def test_a_present_view_outlives_its_object_so_that_its_deletion_can_be_sent(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    for name in ("all", "some", "ends"):
        store.claim(0, *map(world.delivered, claimed(store, name)), endpoint=name)
    restarted(store, ALL)
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))
    store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.clock.advance(DAY_S)
    clean(store, wire.Prunable.OBJECTS, wire.Prunable.EVENTS, age_s=60)
    assert store.ledger.rows("SELECT * FROM objects") == store.ledger.rows("SELECT * FROM events") == []
    restarted(store, ALL, SOME)

    assert [entry[:2] for entry in chain(store, "some")] == [("a", "deleted")]
    assert chain(store, "some")[0][3] == 1


def test_a_present_view_of_an_endpoint_without_deletions_is_dropped_with_its_object(path: Path) -> None:
    store = world.World(path, endpoints_=(endpoint("new", types=frozenset({CREATED})),))
    store.open()
    store.relist(10, world.seen("a", 5))
    store.claim(0, *map(world.delivered, claimed(store, "new")), endpoint="new")
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.DELETED))
    store.clock.advance(DAY_S)
    clean(store, wire.Prunable.OBJECTS, wire.Prunable.EVENTS, age_s=60)

    assert store.ledger.rows("SELECT * FROM views") == store.ledger.rows("SELECT * FROM order_keys") == []
    store.ledger.close()


def test_statistics_show_what_an_endpoint_is_kept_from(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    control(store, wire.PauseEndpoint(endpoint="all"))
    store.restart(endpoints_=(ALL, SOME, endpoint("late")))

    def found() -> dict[str, tuple[bool, bool, bool]]:
        figures = store.service.handle(wire.Inspect())
        assert isinstance(figures, wire.Statistics)
        return {one.endpoint: (one.paused_us > 0, one.removed_us > 0, one.catching_up) for one in figures.endpoints}

    assert found() == {
        "all": (True, False, False),
        "ends": (False, True, False),
        "late": (False, False, True),
        "some": (False, False, False),
    }
    store.catch_up()
    assert found()["late"] == (False, False, False)


# Damage.


def test_a_rescue_reopens_for_each_endpoint_what_it_selects_and_compares_everything(path: Path) -> None:
    store = world.World(path, updates=True, endpoints_=(ALL, SOME))
    store.open()
    store.relist(10)
    for number, name in enumerate("abc"):
        store.observe(10 + number, 11 + number, world.seen(name, 11 + number, model.ChangeKind.ADDED))
    store.observe(13, 14, world.seen("a", 14, value="other"))
    restarted(store, ALL, SOME, endpoint("late"))
    store.ledger.run("DELETE FROM deliveries")
    store.ledger.run("DELETE FROM views WHERE id & 4095 = 3")
    store.ledger.close()
    config = salvage.RescueConfig(scopes=(store.scopes[0].id,), endpoint="all", endpoints=store.endpoints)

    salvage.rescue(path, config, store.clock.us, lambda _share: None)
    store.start()
    assert list(verification.inconsistencies(store.ledger)) == []

    assert [entry[:2] for entry in chain(store, "all")] == [
        ("a", "created"),
        ("b", "created"),
        ("c", "created"),
        ("a", "updated"),
    ]
    assert chain(store, "all")[-1][3] == 1
    assert [entry[:2] for entry in chain(store, "some")] == [("a", "created"), ("b", "created"), ("a", "updated")]
    assert [entry[:2] for entry in chain(store, "late")] == [("a", "created"), ("b", "created"), ("c", "created")]
    assert store.ledger.rows("SELECT endpoint FROM catch_ups ORDER BY 1") == [(1,), (2,), (3,)]
    store.ledger.close()


def test_a_page_of_an_object_s_history_has_the_deliveries_of_every_endpoint(store: world.World) -> None:
    for number in range(11, 41):
        store.observe(number - 1, number, world.seen("a", number, value=f"v{number}"))
    shown: list[tuple[int, str]] = []
    before, more = 0, True
    while more:
        page = store.ask(wire.Explain(kind="ConfigMap", namespace="ns", name="a", before=before))
        shown += [(event.sequence, event.endpoint) for event in page.events]
        before, more = page.before, page.more

    assert shown[:2] == [(30, "some"), (30, "all")]
    assert len(shown) == len(set(shown)) == 30 + 30 + 1


def test_a_catch_up_waits_for_free_space_without_a_busy_loop(path: Path) -> None:
    free = {"bytes": 10**9}

    def volume(_: object) -> os.statvfs_result:
        return os.statvfs_result((1, 1, 10**9, free["bytes"], free["bytes"], 0, 0, 0, 0, 255))

    clock = itertools.count()
    disk = disk_guard.DiskGuard(path, reserve_bytes=10**6, monotonic=lambda: float(next(clock)), statvfs=volume)
    store = world.World(path, disk=disk, endpoints_=(ALL,))
    store.open()
    store.relist(10, world.seen("a", 5))
    free["bytes"] = 10**5
    store.restart(endpoints_=(ALL, SOME))
    store.service.process([])
    store.service.catch_up()

    assert chain(store, "some") == []
    assert store.service.longest_wait_s(5) == 5
    free["bytes"] = 10**9
    store.service.process([])
    store.service.catch_up()

    assert chain(store, "some") == [("a", "created", 2, 0)]
    store.ledger.close()


def test_the_store_s_loop_compares_without_a_request(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    assert store.service.longest_wait_s(5) == 5
    store.restart(endpoints_=(ALL, endpoint("late")))

    assert store.service.longest_wait_s(5) == 0
    store.service.catch_up()
    store.service.catch_up()
    assert chain(store, "late") == [("a", "created", 2, 0)]
    assert store.service.longest_wait_s(5) == 5


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            "UPDATE events SET endpoint = 2 WHERE sequence = 2",
            "delivery 8193: its event was written for endpoint 2 alone",
        ),
        (
            "UPDATE deliveries SET previous = 0 WHERE id = 8194",
            "event 2 of /ConfigMap/ns/a: previous is 0 where 1 comes before it",
        ),
        (
            "UPDATE views SET written = 1 WHERE id & 4095 = 2",
            "the view of /ConfigMap/ns/a: written is 1, the last delivery is of 2",
        ),
        ("UPDATE deliveries SET endpoint = 1 WHERE id = 8194", "delivery 8194: its order key is not that of its event"),
        (
            "UPDATE counts SET number = 7 WHERE what = 'deliveries' AND name = '2' AND state = 'ready'",
            "deliveries 2 ready: 1 rows, but the count is 7",
        ),
    ],
)
def test_verify_proves_each_endpoint_on_its_own(path: Path, change: str, found: str) -> None:
    store = world.World(path, updates=True, endpoints_=(ALL, SOME))
    store.open()
    store.relist(10, world.seen("a", 5))
    store.observe(10, 11, world.seen("a", 11, value="other"))
    assert list(verification.inconsistencies(store.ledger)) == []
    store.ledger.run(change)

    assert [line for line in verification.inconsistencies(store.ledger) if line.startswith(found)]
    store.ledger.close()


def test_no_object_of_an_earlier_cluster_is_caught_up_as_deleted(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    restarted(store, ALL)
    store.ask(wire.Adopt(cluster="new", force=True))
    restarted_with_cluster(store, "new", ALL, SOME)

    assert [entry[:2] for entry in chain(store, "some")] == [("a", "created"), ("b", "created"), ("a", "created")]
    assert [entry[:2] for entry in chain(store, "all")] == [("a", "created"), ("b", "created"), ("a", "created")]


def restarted_with_cluster(store: world.World, cluster: str, *configured: endpoints.LedgerEndpoint) -> None:
    store.restart(endpoints_=configured)
    store.open(cluster=cluster)
    store.relist(3, world.seen("a", 2, uid="another"))
    store.catch_up()


def test_the_object_that_an_endpoint_has_is_ended_before_another_one_is_created(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    for name in ("all", "some", "ends"):
        store.claim(0, *map(world.delivered, claimed(store, name)), endpoint=name)
    restarted(store, ALL)
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))
    store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")
    store.clock.advance(DAY_S)
    clean(store, wire.Prunable.OBJECTS, wire.Prunable.EVENTS, age_s=60)
    opened = store.open()
    store.ask(wire.Expire(scope=store.scopes[0].id, session=opened.session, epoch=opened.epoch, prev=12))
    restarted(store, ALL, SOME)
    store.relist(20, world.seen("a", 15, uid="another"), end=False)

    assert [entry[:2] for entry in chain(store, "some")] == [("a", "deleted"), ("a", "created")]
    assert [entry[:2] for entry in chain(store, "all")] == [("a", "created")]
    uids = store.ledger.rows("SELECT uid FROM readable_events ORDER BY sequence")
    assert uids == [("uid-a",), ("another",)]


def test_a_deletion_is_not_written_over_a_view_of_another_object_which_is_ended(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.ledger.run("UPDATE views SET written_uid = 'another' WHERE id & 4095 = 2")
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))

    events = store.ledger.rows(
        "SELECT d.endpoint, e.type, e.uid FROM readable_deliveries d JOIN readable_events e USING (sequence)"
        " WHERE e.type = 'deleted' ORDER BY d.endpoint"
    )
    assert events == [("all", "deleted", "uid-a"), ("ends", "deleted", "uid-a"), ("some", "deleted", "another")]


def test_an_endpoint_that_has_an_older_object_is_compared_when_the_newer_one_ends(store: world.World) -> None:
    """The name returns while the newer object is unmanaged, so that it is not compared; then that object ends."""
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    restarted(store, ALL)
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))
    store.observe(12, 13, world.seen("a", 13, model.ChangeKind.ADDED, uid="newer"))
    narrow = world.scope_of(values=["none"])
    store.restart(narrow, endpoints_=(ALL, SOME))
    store.open(narrow)
    store.relist(20, world.seen("a", 13, verdict=model.RuleVerdict.ANNOTATION, uid="newer"), scope=narrow)
    store.catch_up()
    assert [what for _, what, *_ in chain(store, "some")] == ["created"], "an unmanaged object is not compared"

    store.observe(20, 21, world.seen("a", 21, model.ChangeKind.DELETED, uid="newer"))

    assert [what for _, what, *_ in chain(store, "all")] == ["created", "deleted", "created", "deleted"]
    assert [what for _, what, *_ in chain(store, "some")] == ["created", "deleted"]
    last = "SELECT uid FROM readable_events JOIN readable_deliveries d USING (sequence) WHERE d.endpoint = ?"
    assert store.ledger.rows(f"{last} ORDER BY sequence DESC LIMIT 1", ("some",)) == [("uid-a",)]


# Sentences of the design that have no test above.


def test_one_endpoint_overtakes_no_other(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"))
    (first,) = claimed(store, "some")
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED), endpoint="some")
    for _ in range(2):
        store.claim(0, *map(world.delivered, claimed(store, "all")), endpoint="all")

    assert control(store, wire.Redeliver(deliveries=((first.id, 0),))).refused == ()
    (second,) = claimed(store, "some")
    store.claim(0, world.delivered(second), endpoint="some")
    assert store.ledger.rows("SELECT state, reason FROM deliveries WHERE id = ?", (first.id,)) == [
        ("failed", "a later event of the object has been delivered")
    ]


def test_previous_is_what_was_written_whatever_became_of_it(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    (first,) = claimed(store, "some")
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED), endpoint="some")
    control(store, wire.Discard(deliveries=((first.id, 0),), reason="wrong"))
    store.observe(11, 12, world.seen("a", 12, value="other"))

    assert [one.previous for one in claimed(store, "some")] == [first.sequence]


def test_an_event_is_kept_while_it_is_unsettled_at_any_endpoint(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("a", 12, value="other"))
    (first,) = claimed(store, "some")
    failed = replace(world.delivered(first), result=model.DeliveryResult.FAILED)
    store.claim(0, failed, endpoint="some")
    for name in ("all", "some", "ends"):
        while found := claimed(store, name):
            store.claim(0, *map(world.delivered, found), endpoint=name)
    store.clock.advance(DAY_S)
    clean(store, wire.Prunable.EVENTS, age_s=60)
    assert [event[:2] for event in store.events()] == [("a", "created"), ("a", "updated")]

    control(store, wire.Discard(deliveries=((first.id, 0),), reason="wrong"))
    store.clock.advance(DAY_S)
    clean(store, wire.Prunable.EVENTS, age_s=60)

    assert [event[:2] for event in store.events()] == [("a", "updated")], "the latest of the object"


def test_open_deliveries_of_what_is_no_longer_selected_still_go_out(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED), world.seen("b", 11, model.ChangeKind.ADDED))
    restarted(store, ALL, endpoint("some", "b"), ENDS)
    store.observe(11, 12, world.seen("a", 12, model.ChangeKind.DELETED))

    assert [(one.name, one.type) for one in claimed(store, "some", session="n", number=1)] == [
        ("a", "created"),
        ("b", "created"),
    ]
    assert [entry[:2] for entry in chain(store, "some")] == [("a", "created"), ("b", "created")]


def test_a_name_that_is_put_back_goes_on_where_it_was_and_then_catches_up(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    restarted(store, ALL)
    store.observe(11, 12, world.seen("a", 12, value="other"))
    restarted(store, ALL, SOME)

    (first,) = claimed(store, "some", session="n", number=1)
    (second,) = claimed(store, "some", world.delivered(first), session="n", number=2)
    assert [(one.type, one.previous) for one in (first, second)] == [("created", 0), ("updated", first.sequence)]


def test_start_now_withholds_in_the_transaction_of_the_start_what_is_tracked_and_selected(store: world.World) -> None:
    store.observe(10, 11, *(world.seen(name, 11, model.ChangeKind.ADDED) for name in "abc"))
    store.observe(11, 12, world.seen("b", 12, model.ChangeKind.DELETED))
    store.restart(endpoints_=(ALL, endpoint("late", "ab", start=endpoints.StartFrom.NOW)))

    rows = store.ledger.rows(
        "SELECT k.name, v.written, v.written_uid, v.written_value, v.accepted, v.accepted_uid FROM views v"
        " JOIN order_keys k ON k.id = v.id >> 12 WHERE v.id & 4095 = 4"
    )
    assert rows == [("a", 0, "uid-a", "true", 0, None)]
    assert not store.service._turn.is_possible


def test_the_first_list_of_an_empty_ledger_reports_everything_to_every_endpoint(path: Path) -> None:
    late = endpoint("late", start=endpoints.StartFrom.NOW)
    store = world.World(path, endpoints_=(ALL, SOME, late))
    store.open()
    store.relist(10, world.seen("a", 5), world.seen("c", 5))

    assert [len(chain(store, name)) for name in ("all", "some", "late")] == [2, 1, 2]
    assert {cause for *_, cause in store.events()} == {"first-seen"}
    store.ledger.close()


def test_a_change_of_the_order_or_of_nothing_writes_nothing(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    for configured in ((SOME, ENDS, ALL), (ENDS, ALL, SOME), (ENDS, ALL, SOME)):
        store.restart(endpoints_=configured)
        assert store.ledger.rows("SELECT * FROM catch_ups") == []

    assert len(store.events()) == 1


def test_verify_accepts_what_was_discarded_with_its_endpoint_and_no_other_state(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.ADDED))
    restarted(store, ALL)
    discard_all(store, "some")
    assert store.ledger.rows("SELECT written, written_uid FROM views WHERE id & 4095 = 2") == [(1, None)]
    assert list(verification.inconsistencies(store.ledger)) == []

    store.ledger.run("UPDATE views SET written_uid = 'wrong' WHERE id & 4095 = 1")

    found = "the view of /ConfigMap/ns/a: what was written or accepted is not the state in event 1 or 0"
    assert list(verification.inconsistencies(store.ledger)) == [found]
    store.ledger.run("UPDATE views SET written_uid = 'uid-a' WHERE id & 4095 = 1")
