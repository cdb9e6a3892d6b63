"""The configuration changes and changes back: what was accepted stays true, and nothing is falsely deleted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beacon import wire
from beacon.domain import model, rules
from beacon.store.ledger import database, endpoints
from beacon.store.server import service
from beacon.store.verbs import alignment
from tests.unit.store import world

REFUSED = model.RuleVerdict.ANNOTATION
ANY = world.scope_of()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[world.World]:
    opened = world.World(tmp_path / "e.db", ANY, updates=True)
    opened.open()
    opened.relist(10, world.seen("a", 5, value="red"), world.seen("b", 6, value="blue"))
    opened.open()
    yield opened
    opened.ledger.close()


def emitted(store: world.World) -> list[tuple[str, str]]:
    return [(name, what) for name, what, _ in store.events()]


def states(store: world.World) -> dict[str, str]:
    rows = store.ledger.rows("SELECT name, state FROM readable_objects")
    return {str(name): str(state) for name, state in rows}


def judged(scope: rules.Scope, *objects: dict[str, Any]) -> list[model.Observation]:
    """Show objects as the watcher of this scope would judge them."""
    made = []
    for one in objects:
        labels, namespace = one.get("labels", {}), one.get("namespace", "ns")
        verdict = rules.judge(
            scope.rule, namespace=namespace, annotations={world.ANNOTATION: one["value"]}, labels=labels
        )
        made.append(
            world.seen(
                one["name"], one["version"], model.ChangeKind.LISTED, verdict, value=one["value"], namespace=namespace
            )
        )
    return made


A = {"name": "a", "version": 5, "value": "red"}
B = {"name": "b", "version": 6, "value": "blue"}


def change_to(store: world.World, at: int, *scopes: rules.Scope, objects: tuple[dict[str, Any], ...] = (A, B)) -> None:
    store.restart(*scopes)
    for scope in scopes:
        store.open(scope)
        mine = [one for one in objects if scope.id.namespace in ("", one.get("namespace", "ns"))]
        assert store.relist(at, *judged(scope, *mine), scope=scope).place is wire.ApplyResult.APPLIED


def test_another_rule_invalidates_the_cursor_with_a_reason(store: world.World) -> None:
    store.restart(world.scope_of(values=["red"]))

    opened = store.open()

    assert (opened.cursor, opened.reason) == (0, model.GapReason.CONFIGURATION)


@pytest.mark.parametrize(
    "narrow", [world.scope_of(values=["red"]), world.scope_of(selector="x=y"), world.scope_of(excluded=("ns",))]
)
def test_narrowing_a_rule_and_widening_it_again_emits_nothing(store: world.World, narrow: rules.Scope) -> None:
    before = emitted(store)

    change_to(store, 20, narrow)
    assert "unmanaged" in states(store).values()
    assert emitted(store) == before
    change_to(store, 30, ANY)

    assert emitted(store) == before
    assert states(store) == {"a": "tracked", "b": "tracked"}


def test_a_rule_that_is_widened_creates_by_configuration(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db", world.scope_of(values=["red"]))
    store.open()
    store.relist(10, *judged(store.scopes[0], A))

    change_to(store, 20, ANY)

    assert store.events() == [("a", "created", "first-seen"), ("b", "created", "configuration")]
    store.ledger.close()


def test_an_unmanaged_object_that_is_deleted_causes_an_event(store: world.World) -> None:
    change_to(store, 20, world.scope_of(values=["red"]))
    change_to(store, 30, world.scope_of(values=["red"]), objects=(A,))

    assert emitted(store)[2:] == [("b", "deleted")]


def test_what_is_unmanaged_and_changed_meanwhile_is_deleted_only_by_the_rule_that_accepted_it(
    store: world.World,
) -> None:
    blue_no_more = {"name": "b", "version": 15, "value": "green"}
    change_to(store, 20, world.scope_of(values=["red"]))
    change_to(store, 30, world.scope_of(values=["red", "black"]), objects=(A, blue_no_more))
    assert emitted(store)[2:] == []

    change_to(store, 40, ANY, objects=(A, blue_no_more))

    assert emitted(store)[2:] == [("b", "updated")], "any value is accepted again: `created` was sent before"
    assert states(store)["b"] == "tracked"


def test_another_annotation_is_no_update(store: world.World) -> None:
    (other,) = rules.scopes([rules.Entry(api_version="v1", kind="ConfigMap")], annotation="other", values=None)
    store.restart(other)
    store.open(other)

    store.relist(20, world.seen("a", 15, value="other value"), scope=other, others={"uid-b": 6})

    assert emitted(store) == [("a", "created"), ("b", "created")]


def test_enabling_updates_emits_the_value_as_it_is_and_no_earlier_one(store: world.World) -> None:
    store.updates = False
    store.restart()
    store.open()
    store.observe(10, 11, world.seen("a", 11, value="green"))
    store.observe(11, 12, world.seen("a", 12, value="yellow"))
    store.updates = True
    store.restart()
    store.open()
    assert len(emitted(store)) == 2
    store.catch_up()

    assert emitted(store)[2:] == [("a", "updated")]
    (value,) = store.ledger.row("SELECT data ->> '$.resource.annotationValue' FROM events ORDER BY sequence DESC") or ()
    assert value == "yellow"


def test_a_scope_that_is_removed_leaves_an_open_gap_and_comes_back_with_a_list(store: world.World) -> None:
    secrets = world.scope_of("Secret")
    store.restart(secrets)
    assert states(store) == {"a": "unmanaged", "b": "unmanaged"}
    assert store.ledger.rows("SELECT reason, from_version, certainty FROM gaps WHERE to_us IS NULL") == [
        ("configuration", 10, "open")
    ]
    request = wire.OpenStream(scope=ANY.id, label="x", fingerprint=ANY.fingerprint, nonce="n")
    assert store.ask(request).place is wire.ApplyResult.RECONFIGURED

    store.restart(ANY)
    opened = store.open(ANY)
    assert (opened.cursor, opened.reason) == (0, model.GapReason.CONFIGURATION)
    assert set(opened.tracked) == {"uid-a", "uid-b"}
    store.relist(20, *judged(ANY, A))

    assert emitted(store)[2:] == [("b", "deleted")]
    assert states(store) == {"a": "tracked", "b": "gone"}
    assert store.ledger.rows("SELECT reason, differences, certainty FROM gaps WHERE kind = 'ConfigMap'")[1:] == [
        ("configuration", 1, "differences")
    ]


def test_all_namespaces_become_named_ones_and_the_others_are_unmanaged(tmp_path: Path) -> None:
    here = {"name": "h", "version": 5, "value": "red", "namespace": "here"}
    there = {"name": "t", "version": 6, "value": "red", "namespace": "there"}
    store = world.World(tmp_path / "e.db", ANY)
    store.open()
    store.relist(10, *judged(ANY, here, there))

    change_to(store, 20, world.scope_of(namespaces=("here",)), objects=(here, there))
    assert states(store) == {"h": "tracked", "t": "unmanaged"}
    change_to(store, 30, ANY, objects=(here, there))

    assert emitted(store) == [("h", "created"), ("t", "created")]
    assert states(store) == {"h": "tracked", "t": "tracked"}
    store.ledger.close()


def test_deletions_in_an_excluded_namespace_are_emitted_once_they_are_observed(store: world.World) -> None:
    change_to(store, 20, world.scope_of(excluded=("ns",)))
    assert emitted(store)[2:] == []

    change_to(store, 30, world.scope_of(excluded=("ns",)), objects=(A,))

    assert emitted(store)[2:] == [("b", "deleted")]


def test_an_interrupted_list_under_another_rule_deletes_nothing(store: world.World) -> None:
    narrow = world.scope_of(values=["red"])
    store.restart(narrow)
    store.open(narrow)
    store.relist(20, *judged(narrow, A), scope=narrow, end=False)
    store.restart(ANY)
    store.open(ANY)
    store.relist(30, *judged(ANY, A, B), scope=ANY)

    assert len(emitted(store)) == 2


def test_open_and_failed_deliveries_of_the_only_endpoint_follow_its_new_name(store: world.World) -> None:
    first, second = store.claim().deliveries
    failed = replace(world.delivered(first), result=model.DeliveryResult.FAILED, status=400, code="400")
    store.claim(0, failed)
    store.observe(10, 11, world.seen("b", 11, value="green"))
    store.ledger.close()
    ledger = database.Database(store.path)
    terms = alignment.LedgerConfig(
        scopes=(ANY,), endpoints=(endpoints.LedgerEndpoint(name="other", url_digest=b"url"),), updates=True
    )
    store.ledger, store.service = (
        ledger,
        service.StoreService(ledger, terms, settings={}, digest="d", time_=store.time()),
    )
    store.open()
    store.observe(11, 12, world.seen("c", 12, model.ChangeKind.ADDED))

    given = store.claim(endpoint="other", session="t", number=1).deliveries
    figures = store.service.handle(wire.Inspect())

    assert [each.name for each in given] == ["b", "c"], "b's second event waits for its first"
    assert given[0].sequence == second.sequence
    assert isinstance(figures, wire.Statistics)
    (there,) = (one for one in figures.endpoints if one.endpoint == "other")
    assert (there.in_flight, there.queued, there.failed) == (2, 1, 1)
    assert {one.ready + one.queued + one.failed for one in figures.endpoints if one.endpoint == "default"} <= {0}
