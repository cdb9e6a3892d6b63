"""Positions: what moves a cursor and what can't, lists and what they prove, fences, epochs, gaps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model
from tests.unit.store import world

ADDED, DELETED, LISTED = model.ChangeKind.ADDED, model.ChangeKind.DELETED, model.ChangeKind.LISTED
REFUSED = model.RuleVerdict.ANNOTATION


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    """Create a store whose one scope has been listed at 10."""
    opened = world.World(tmp_path / "e.db", updates=True)
    opened.open()
    opened.relist(10)
    opened.open()
    yield opened
    opened.ledger.close()


def begin(store: world.World, at: int, **changes: Any) -> wire.ListBegin:
    scope, opened = store.scopes[0], store.opened[store.scopes[0].id]
    request = wire.ListBegin(
        scope=scope.id,
        session=opened.session,
        epoch=opened.epoch,
        prev=opened.cursor,
        at=at,
        fingerprint=scope.fingerprint,
        api_version="v1",
        reason=opened.reason or model.GapReason.EXPIRED,
    )
    return replace(request, **changes)


def page(store: world.World, at: int, number: int, *seen: model.Observation, **others: int) -> wire.ListPage:
    listed = {each.uid: each.resource_version for each in seen} | others
    return wire.ListPage(
        scope=store.scopes[0].id,
        session=store.opened[store.scopes[0].id].session,
        at=at,
        number=number,
        uids=tuple(listed),
        versions=tuple(listed.values()),
        observations=tuple(replace(each, change=LISTED) for each in seen),
    )


def end(store: world.World, at: int, pages: int, count: int) -> wire.ListEnd:
    session = store.opened[store.scopes[0].id].session
    return wire.ListEnd(scope=store.scopes[0].id, session=session, at=at, pages=pages, count=count)


def expire(store: world.World, prev: int, **changes: Any) -> wire.PositionReply:
    scope, opened = store.scopes[0], store.opened[store.scopes[0].id]
    request = wire.Expire(scope=scope.id, session=opened.session, epoch=opened.epoch, prev=prev)
    reply = store.ask(replace(request, **changes))
    assert isinstance(reply, wire.PositionReply)
    return reply


def rewind(store: world.World, current: int = 5) -> wire.PositionReply:
    scope, opened = store.scopes[0], store.opened[store.scopes[0].id]
    reply = store.ask(
        wire.Rewind(scope=scope.id, session=opened.session, epoch=opened.epoch, current=current, highest=opened.highest)
    )
    assert isinstance(reply, wire.PositionReply)
    return reply


def cursor(store: world.World) -> int:
    return int(store.ledger.rows("SELECT resource_version FROM cursors")[0][0])


def emitted(store: world.World) -> list[tuple[str, str]]:
    return [(name, what) for name, what, _ in store.events()]


def states(store: world.World) -> dict[str, str]:
    return {str(uid): str(state) for uid, state in store.ledger.rows("SELECT uid, state FROM readable_objects")}


def gaps(store: world.World, columns: str = "reason, certainty, differences") -> list[Any]:
    return store.ledger.rows(f"SELECT {columns} FROM gaps ORDER BY id")


# observe


def test_a_list_with_an_object_without_a_uid_deletes_nothing(store: world.World) -> None:
    store.relist(20, world.seen("a", 15))
    store.open()

    doubtful = store.relist(30, identified=False)

    assert (doubtful.place, doubtful.cursor) == (wire.ApplyResult.APPLIED, 30)
    assert [event[1] for event in store.events()] == ["created"]
    store.open()
    store.relist(40)
    assert [event[1] for event in store.events()] == ["created", "deleted"]


def test_what_follows_the_cursor_is_applied_and_moves_it(store: world.World) -> None:
    reply = store.observe(10, 12, world.seen("a", 11, ADDED))

    assert (reply.place, reply.cursor, cursor(store)) == (wire.ApplyResult.APPLIED, 12, 12)
    assert emitted(store) == [("a", "created")]


def test_a_position_that_the_store_has_is_acknowledged_and_not_applied_again(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED))

    for position in (11, 12):
        reply = store.observe(10, position, world.seen("b", 11, ADDED))
        assert (reply.place, reply.cursor) == (wire.ApplyResult.APPLIED, 12)

    assert emitted(store) == [("a", "created")]


@pytest.mark.parametrize("prev", [9, 11, 0, -1, 2**62])
def test_a_position_that_would_jump_is_refused(store: world.World, prev: int) -> None:
    reply = store.observe(prev, 13, world.seen("a", 13, ADDED))

    assert reply.place is wire.ApplyResult.OUT_OF_POSITION
    assert (emitted(store), cursor(store)) == ([], 10)


@pytest.mark.parametrize("changes", [{"session": 1}, {"epoch": 1}, {"epoch": -1}, {"tracked_version": 0}])
def test_an_observation_from_elsewhere_is_refused(store: world.World, changes: dict[str, Any]) -> None:
    reply = store.observe(10, 11, world.seen("a", 11, ADDED), **changes)

    assert reply.place is wire.ApplyResult.OUT_OF_POSITION
    assert (emitted(store), cursor(store)) == ([], 10)


def test_an_observation_by_another_rule_is_refused_as_reconfigured(store: world.World) -> None:
    assert store.observe(10, 11, fingerprint="other").place is wire.ApplyResult.RECONFIGURED
    assert store.observe(10, 11, scope=store.scopes[0], api_version="v1").place is wire.ApplyResult.APPLIED


def test_a_scope_that_is_not_configured_is_refused(store: world.World) -> None:
    request = replace(store.observation(10, 11), scope=model.ScopeId(group="", kind="Secret"))

    assert store.ask(request).place is wire.ApplyResult.RECONFIGURED


def test_a_late_request_of_an_earlier_session_is_refused(store: world.World) -> None:
    late = store.observation(10, 11, world.seen("a", 11, ADDED))
    store.open()

    assert store.ask(late).place is wire.ApplyResult.OUT_OF_POSITION
    assert emitted(store) == []


def test_opening_twice_with_one_nonce_is_one_session(store: world.World) -> None:
    first = store.open()
    store.nonces -= 1
    again = store.open()

    assert again == first


@pytest.mark.parametrize("position", [2**63, 2**64 - 1])
def test_a_position_beyond_64_bits_is_refused_and_changes_nothing(store: world.World, position: int) -> None:
    reply = store.ask(store.observation(10, position))

    assert isinstance(reply, wire.Refused)
    assert reply.code is wire.Refusal.FAILED
    assert store.observe(10, 11, world.seen("a", 11, ADDED)).cursor == 11


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\U0001f600", "'; DROP TABLE objects; --", "x" * 1_000_000])
def test_any_text_is_kept_as_it_is(store: world.World, text: str) -> None:
    seen = replace(world.seen("n", 11, ADDED, uid=f"u{text}", value=text), labels={text: text})
    store.observe(10, 11, seen)

    store.open()
    expire(store, 11)
    store.open()
    reply = store.relist(12, seen)

    assert reply.place is wire.ApplyResult.APPLIED
    assert reply.tracked == (f"u{text}",)
    assert emitted(store) == [("n", "created")]
    assert store.ledger.rows("SELECT value, state FROM readable_objects") == [(text, "tracked")]


# expire


def test_an_expired_cursor_is_void_and_the_gap_is_on_record_from_then_on(store: world.World) -> None:
    store.clock.advance(100)

    assert expire(store, 10).place is wire.ApplyResult.APPLIED
    opened = store.open()

    assert (opened.cursor, opened.reason) == (0, model.GapReason.EXPIRED)
    since = store.clock.us - 100_000_000
    assert gaps(store, "reason, certainty, from_us, from_version, to_us")[1:] == [("expired", "open", since, 10, None)]


def test_a_repeated_expire_changes_nothing(store: world.World) -> None:
    expire(store, 10)

    assert expire(store, 10).place is wire.ApplyResult.APPLIED
    assert len(gaps(store)) == 2


@pytest.mark.parametrize("changes", [{"prev": 9}, {"prev": 0}, {"session": 0}, {"epoch": 1}])
def test_an_expire_of_another_position_is_refused(store: world.World, changes: dict[str, int]) -> None:
    assert expire(store, **({"prev": 10} | changes)).place is wire.ApplyResult.OUT_OF_POSITION
    assert cursor(store) == 10


def test_nothing_is_applied_to_a_void_cursor(store: world.World) -> None:
    expire(store, 10)

    for prev in (10, 0):
        assert store.observe(prev, 11, world.seen("a", 11, ADDED)).place is wire.ApplyResult.OUT_OF_POSITION
    assert emitted(store) == []


# lists


def test_a_list_voids_the_cursor_until_it_has_ended(store: world.World) -> None:
    store.ask(begin(store, 20))
    during = store.observe(10, 21, world.seen("a", 21, ADDED))
    store.ask(end(store, 20, 0, 0))
    after = store.observe(20, 21, world.seen("a", 21, ADDED))

    assert during.place is wire.ApplyResult.OUT_OF_POSITION
    assert after.place is wire.ApplyResult.APPLIED


def test_every_part_of_a_list_may_come_twice(store: world.World) -> None:
    a, b = world.seen("a", 11), world.seen("b", 12)

    for request in (begin(store, 20), page(store, 20, 0, a), page(store, 20, 1, b), end(store, 20, 2, 2)):
        first, again = store.ask(request), store.ask(request)
        assert first.place is wire.ApplyResult.APPLIED
        assert again == first

    assert emitted(store) == [("a", "created"), ("b", "created")]


def test_a_repeated_begin_in_the_middle_does_not_start_over(store: world.World) -> None:
    store.ask(begin(store, 20))
    store.ask(page(store, 20, 0, world.seen("a", 11)))

    store.ask(begin(store, 20))

    assert store.ask(end(store, 20, 1, 1)).place is wire.ApplyResult.APPLIED


@pytest.mark.parametrize("at", [10, 20])
def test_a_begin_that_comes_after_its_list_has_ended_is_refused(store: world.World, at: int) -> None:
    first = begin(store, at)
    store.ask(first)
    store.ask(end(store, at, 0, 0))

    assert store.ask(first).place is wire.ApplyResult.OUT_OF_POSITION
    assert cursor(store) == at


@pytest.mark.parametrize(("changes", "place"), [
    ({"prev": 9}, wire.ApplyResult.OUT_OF_POSITION),
    ({"session": 0}, wire.ApplyResult.OUT_OF_POSITION),
    ({"epoch": 1}, wire.ApplyResult.OUT_OF_POSITION),
    ({"fingerprint": "other"}, wire.ApplyResult.RECONFIGURED),
])  # fmt: skip
def test_a_list_from_elsewhere_does_not_begin(
    store: world.World, changes: dict[str, Any], place: wire.ApplyResult
) -> None:
    assert store.ask(begin(store, 20, **changes)).place is place
    assert cursor(store) == 10


def test_a_list_older_than_what_was_read_does_not_begin(store: world.World) -> None:
    store.observe(10, 30)
    store.open()

    assert store.ask(begin(store, 29)).place is wire.ApplyResult.OUT_OF_POSITION


def test_an_interrupted_lists_version_still_counts_as_read(store: world.World) -> None:
    store.ask(begin(store, 50))
    opened = store.open()

    assert opened.highest == 50
    assert store.ask(begin(store, 49)).place is wire.ApplyResult.OUT_OF_POSITION


@pytest.mark.parametrize("at", [0, -1])
def test_a_list_without_a_version_is_refused_and_the_stream_can_go_on(tmp_path: Path, at: int) -> None:
    store = world.World(tmp_path / "e.db")
    store.open()

    assert isinstance(store.ask(begin(store, at)), wire.Refused)

    assert store.open().reason is model.GapReason.FIRST_LIST
    assert store.relist(10).place is wire.ApplyResult.APPLIED
    store.ledger.close()


def test_a_page_that_is_missing_is_noticed(store: world.World) -> None:
    store.ask(begin(store, 20))
    store.ask(page(store, 20, 0, world.seen("a", 11)))

    assert store.ask(page(store, 20, 2, world.seen("c", 11))).place is wire.ApplyResult.OUT_OF_POSITION
    assert store.ask(end(store, 20, 2, 2)).place is wire.ApplyResult.OUT_OF_POSITION
    assert emitted(store) == [("a", "created")]


def test_an_incomplete_list_deletes_nothing(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("b", 12, ADDED))
    store.open()
    store.ask(begin(store, 20))
    store.ask(page(store, 20, 0, world.seen("a", 11)))

    for wrong in (end(store, 20, 1, 2), end(store, 20, 0, 1), end(store, 20, 2, 1), end(store, 21, 1, 1)):
        assert store.ask(wrong).place is wire.ApplyResult.OUT_OF_POSITION
    store.open()
    assert store.ask(end(store, 20, 1, 1)).place is wire.ApplyResult.OUT_OF_POSITION
    store.restart()
    store.open()
    assert store.ask(end(store, 20, 1, 1)).place is wire.ApplyResult.OUT_OF_POSITION

    assert emitted(store) == [("a", "created"), ("b", "created")]


def test_an_interrupted_list_is_restarted_in_the_same_gap(store: world.World) -> None:
    store.ask(begin(store, 20))
    store.ask(page(store, 20, 0, world.seen("a", 11)))
    store.restart()
    opened = store.open()
    assert (opened.cursor, opened.reason) == (0, model.GapReason.EXPIRED)

    store.relist(21, world.seen("a", 11))

    assert gaps(store)[1:] == [("expired", "differences", 1)]


def test_pages_of_an_earlier_session_are_refused(store: world.World) -> None:
    store.ask(begin(store, 20))
    late = page(store, 20, 0, world.seen("a", 11))
    store.open()
    store.ask(begin(store, 20))

    assert store.ask(late).place is wire.ApplyResult.OUT_OF_POSITION


def test_a_page_with_more_uids_than_versions_is_refused(store: world.World) -> None:
    store.ask(begin(store, 20))
    request = replace(page(store, 20, 0, a=1, b=2), versions=(1,))

    assert isinstance(store.ask(request), wire.Refused)
    assert store.ask(page(store, 20, 0, a=1, b=2)).place is wire.ApplyResult.APPLIED


def test_a_page_that_observes_what_it_does_not_list_is_refused(store: world.World) -> None:
    store.ask(begin(store, 20))
    request = replace(page(store, 20, 0, b=2), observations=(world.seen("a", 11, LISTED),))

    assert isinstance(store.ask(request), wire.Refused)
    store.ask(end(store, 20, 0, 0))
    assert emitted(store) == []


# the deletion rule


def test_what_a_complete_list_does_not_show_is_gone(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("b", 12, ADDED))
    store.open()

    store.relist(20, world.seen("a", 11))

    assert emitted(store)[2:] == [("b", "deleted")]
    assert store.ledger.rows("SELECT state, resource_version FROM readable_objects WHERE uid = 'uid-b'") == [
        ("gone", 20)
    ]


def test_what_is_listed_without_being_asked_for_is_not_gone(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, ADDED))
    store.open()

    store.relist(20, others={"uid-a": 15})

    assert states(store) == {"uid-a": "tracked"}


def test_rows_newer_than_the_list_are_not_gone(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 25, ADDED))  # fetched ahead of the position
    store.open()

    store.relist(20)

    assert states(store) == {"uid-a": "tracked"}


def test_rows_of_other_namespaces_and_kinds_are_not_gone(tmp_path: Path) -> None:
    one, two = (world.scope_of(namespaces=(name,)) for name in ("one", "two"))
    other = world.scope_of("Secret")
    store = world.World(tmp_path / "e.db", one, two, other)
    for scope, namespace in ((one, "one"), (two, "two"), (other, "one")):
        store.open(scope)
        store.relist(10, world.seen(scope.id.kind + namespace, 5, namespace=namespace), scope=scope)

    store.open(one)
    store.relist(20, scope=one)

    assert emitted(store)[3:] == [("ConfigMapone", "deleted")]
    store.ledger.close()


def test_a_released_object_that_is_gone_is_gone_silently(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("a", 12, verdict=REFUSED))
    store.open()
    store.relist(20)

    assert emitted(store) == [("a", "created"), ("a", "deleted")]
    assert states(store) == {"uid-a": "gone"}


def test_an_object_in_an_excluded_namespace_causes_no_event(tmp_path: Path) -> None:
    scope = world.scope_of(excluded=("kube-system",))
    store = world.World(tmp_path / "e.db", scope)
    store.open()
    hidden = world.seen("a", 5, verdict=model.RuleVerdict.NAMESPACE, namespace="kube-system")

    store.relist(10, hidden)
    store.open()
    store.relist(20, others={"uid-a": 5})

    assert (emitted(store), states(store)) == ([], {})
    store.ledger.close()


# names that change hands


def test_a_successor_ends_its_predecessor_first(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, ADDED, uid="old"))

    store.observe(11, 13, world.seen("a", 13, ADDED, uid="new"))

    assert emitted(store) == [("a", "created"), ("a", "deleted"), ("a", "created")]
    uids = [uid for (uid,) in store.ledger.rows("SELECT uid FROM readable_events ORDER BY sequence")]
    assert uids == ["old", "old", "new"]


def test_a_deletion_observed_after_its_successor_is_not_emitted_twice(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, ADDED, uid="old"))
    store.observe(11, 13, world.seen("a", 13, ADDED, uid="new"))

    store.observe(13, 14, world.seen("a", 12, DELETED, uid="old"))

    assert len(emitted(store)) == 3
    assert states(store) == {"old": "gone", "new": "tracked"}


def test_a_predecessor_seen_after_its_successor_is_a_stale_replay(store: world.World) -> None:
    store.observe(10, 13, world.seen("a", 13, ADDED, uid="new"))

    store.observe(13, 14, world.seen("a", 11, ADDED, uid="old"))

    assert emitted(store) == [("a", "created")]
    assert states(store) == {"new": "tracked"}


def test_a_successor_in_a_list_ends_its_predecessor_once(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 11, ADDED, uid="old"))
    store.open()

    store.relist(20, world.seen("a", 15, uid="new"))

    assert emitted(store) == [("a", "created"), ("a", "deleted"), ("a", "created")]


# the tracked set


def test_the_tracked_set_holds_what_is_tracked_and_what_is_unmanaged_only(store: world.World) -> None:
    seen = [
        world.seen("tracked", 11, ADDED),
        world.seen("released", 12, ADDED),
        world.seen("released", 13, verdict=REFUSED),
        world.seen("gone", 14, ADDED),
        world.seen("gone", 15, DELETED),
    ]
    store.observe(10, 15, *seen)

    assert store.open().tracked == ("uid-tracked",)


# rewinds and epochs


def test_a_rewind_begins_an_epoch_and_voids_every_cursor_with_a_gap(tmp_path: Path) -> None:
    scopes = (world.scope_of(), world.scope_of("Secret"))
    store = world.World(tmp_path / "e.db", *scopes)
    for scope in scopes:
        store.open(scope)
        store.relist(10, scope=scope)
    store.open()

    assert rewind(store).place is wire.ApplyResult.OUT_OF_POSITION

    for scope in scopes:
        opened = store.open(scope)
        assert (opened.epoch, opened.cursor, opened.highest) == (1, 0, 0)
        assert opened.reason is model.GapReason.REWOUND
    assert gaps(store, "kind, reason, from_version, epoch")[2:] == [
        ("ConfigMap", "rewound", 10, 1),
        ("Secret", "rewound", 10, 1),
    ]
    store.ledger.close()


def test_a_repeated_rewind_begins_one_epoch(store: world.World) -> None:
    rewind(store)
    rewind(store)

    assert store.open().epoch == 1


def test_after_a_rewind_only_a_complete_list_deletes(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("b", 12, ADDED))
    store.open()
    rewind(store)
    store.open()
    store.relist(5, world.seen("a", 4), end=False)
    assert len(emitted(store)) == 2
    store.open()

    store.relist(6, world.seen("a", 4))

    assert emitted(store)[2:] == [("b", "deleted")]


def test_a_change_is_named_otherwise_in_another_epoch(store: world.World) -> None:
    store.observe(10, 12, world.seen("a", 11, ADDED), world.seen("a", 12, DELETED))
    store.open()
    rewind(store)
    store.open()
    store.relist(11, world.seen("a", 11))

    assert emitted(store) == [("a", "created"), ("a", "deleted"), ("a", "created")]


@pytest.mark.parametrize("rows", [
    [world.seen("a", 11, ADDED), world.seen("a", 15)],  # the list shows it older
    [world.seen("a", 11, ADDED), world.seen("a", 15, DELETED)],  # the list shows it alive
])  # fmt: skip
def test_a_list_that_contradicts_the_rows_shows_a_rewind(store: world.World, rows: list[model.Observation]) -> None:
    store.observe(10, 15, *rows)
    store.open()
    before = emitted(store)

    reply = store.relist(20, world.seen("a", 11))

    assert reply.place is wire.ApplyResult.OUT_OF_POSITION
    opened = store.open()
    assert (opened.epoch, opened.reason) == (1, model.GapReason.REWOUND)
    assert emitted(store) == before


def test_a_late_line_of_an_object_in_a_list_is_no_rewind(store: world.World) -> None:
    store.observe(10, 11, world.seen("a", 25, ADDED))
    store.open()

    assert store.relist(20, world.seen("a", 15)).place is wire.ApplyResult.APPLIED


# gaps


def test_the_first_list_closes_a_gap_without_a_start(store: world.World) -> None:
    assert gaps(store, "reason, from_us, to_version, differences, certainty") == [
        ("first-list", None, 10, 0, "nothing-found")
    ]


def test_a_gap_counts_the_differences_found(store: world.World) -> None:
    store.observe(10, 12, world.seen("gone", 11, ADDED), world.seen("same", 12, ADDED))
    store.clock.advance(60)
    expire(store, 12)
    store.open()
    store.relist(20, world.seen("same", 12), world.seen("new", 15))

    assert gaps(store)[1:] == [("expired", "differences", 2)]
    since, until = gaps(store, "from_us, to_us")[1]
    assert until - since == 60_000_000


def test_a_gap_without_differences_records_that_nothing_was_missed(store: world.World) -> None:
    store.observe(10, 12, world.seen("same", 12, ADDED))
    expire(store, 12)
    store.open()
    store.relist(20, world.seen("same", 12))

    assert gaps(store)[1:] == [("expired", "nothing-found", 0)]


def test_another_cluster_is_refused_and_the_ledger_stays(store: world.World) -> None:
    scope = store.scopes[0]
    request = wire.OpenStream(
        scope=scope.id, label="x", fingerprint=scope.fingerprint, nonce="n", cluster="another cluster"
    )

    refused = store.ask(request)

    assert isinstance(refused, wire.Refused)
    assert refused.code is wire.Refusal.FOREIGN
    assert store.open().cursor == 10
    assert store.open(cluster="").cursor == 10
