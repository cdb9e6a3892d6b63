"""The story of an object is what the ledger knows of it, in bounded pages, whatever it is named by."""

from dataclasses import replace
from pathlib import Path

import pytest

from beacon import wire
from beacon.cli import formatting
from beacon.cli.commands.explain import rendering as explain_output
from beacon.domain import model
from beacon.store.ledger import database, endpoints
from beacon.store.verbs import object_history
from tests.unit.store import world

ADDED, MODIFIED, DELETED = model.ChangeKind.ADDED, model.ChangeKind.MODIFIED, model.ChangeKind.DELETED


@pytest.fixture
def store(tmp_path: Path) -> world.World:
    made = world.World(tmp_path / "e.db", updates=True)
    made.open()
    made.relist(10)
    return made


def emit(store: world.World, count: int, name: str = "a") -> None:
    for number in range(count):
        (at,) = store.ledger.rows("SELECT resource_version FROM cursors")[0]
        store.observe(at, at + 1, world.seen(name, at + 1, MODIFIED if number else ADDED, value=f"v{number}"))


def story(store: world.World, **given: object) -> wire.Explanation:
    reply = store.ask(wire.Explain(**given))  # type: ignore[arg-type]
    assert isinstance(reply, wire.Explanation), reply
    return reply


def test_kind_and_name_in_any_case_the_uid_and_an_events_id_name_the_same_object(store: world.World) -> None:
    emit(store, 2)
    emit(store, 1, name="other")

    named = story(store, kind="configmap", namespace="ns", name="a")

    assert [(one.type, one.resource_version) for one in named.events] == [("updated", "12"), ("created", "11")]
    assert [(one.uid, one.state, one.resource_version) for one in named.objects] == [
        ("uid-a", model.ObjectState.TRACKED, 12)
    ]
    assert named == story(store, target="uid-a") == story(store, target=named.events[1].id)


def test_each_endpoint_is_explained_with_what_it_was_sent_and_an_event_that_no_endpoint_gets(tmp_path: Path) -> None:
    no_updates = frozenset({model.EventType.CREATED, model.EventType.DELETED})
    some = endpoints.LedgerEndpoint(name="some", types=no_updates)
    other = endpoints.LedgerEndpoint(name="other", selects=lambda *subject: subject[3] != "a")
    store = world.World(tmp_path / "e.db", updates=True, endpoints_=(some, other))
    store.open()
    store.relist(10)
    emit(store, 2)
    (delivery,) = store.claim(endpoint="some").deliveries
    store.claim(0, world.delivered(delivery), endpoint="some")
    store.ask(wire.PauseEndpoint(endpoint="some", reason="upgrade"))

    found = story(store, kind="ConfigMap", namespace="ns", name="a")
    late = endpoints.LedgerEndpoint(name="late")
    store.restart(endpoints_=(some, late))
    after = story(store, kind="ConfigMap", namespace="ns", name="a")
    store.catch_up()
    caught_up = story(store, kind="ConfigMap", namespace="ns", name="a")

    assert [(one.type, one.endpoint, one.state) for one in found.events] == [
        ("updated", "", None),
        ("created", "some", model.DeliveryState.DELIVERED),
    ]
    known = {one.name: one for one in found.endpoints}
    assert [(one.written, one.accepted, one.present) for one in known.values()] == [(0, 0, False), (1, 1, True)]
    assert (known["some"].paused_us > 0, known["some"].paused_reason) == (True, "upgrade")
    assert [(one.name, one.removed_us > 0, one.catching_up) for one in after.endpoints] == [
        ("late", False, True),
        ("other", True, False),
        ("some", False, False),
    ]
    assert (caught_up.events[0].endpoint, caught_up.events[0].alone) == ("late", "late")
    assert (caught_up.endpoints[0].written, caught_up.endpoints[0].catching_up) == (3, False)


def test_an_object_is_current_until_its_rule_is_no_longer_configured(store: world.World) -> None:
    emit(store, 1)

    before = story(store, target="uid-a").objects
    store.restart(world.scope_of(values=["other"]))
    after = story(store, target="uid-a").objects

    assert [one.current for one in (*before, *after)] == [True, False]


def test_each_attempt_has_its_response_and_a_queued_event_names_the_one_before_it(store: world.World) -> None:
    emit(store, 2)
    (first,) = store.claim(1).deliveries
    refused = replace(
        world.delivered(first), result=model.DeliveryResult.RETRY, code="503", status=503, error="busy", delay_s=30.0
    )
    store.claim(0, refused)

    second, earlier = story(store, target="uid-a").events

    assert [(one.number, one.code, one.error) for one in earlier.attempts] == [(1, "503", "busy")]
    assert earlier.next_attempt_us == store.clock.us + 30_000_000
    assert (earlier.behind, second.behind, second.next_attempt_us) == ("", first.event_id, 0)


def test_the_history_of_a_gone_object_is_found_by_its_name(store: world.World) -> None:
    emit(store, 1)
    store.observe(11, 12, world.seen("a", 12, DELETED))

    emitted = story(store, kind="ConfigMap", namespace="ns", name="a")

    assert [one.state for one in emitted.objects] == [model.ObjectState.GONE]
    assert [one.type for one in emitted.events] == ["deleted", "created"]


def test_pages_are_bounded_and_give_every_event_once(store: world.World) -> None:
    emit(store, 45)

    sizes, sequences, page = [], [], story(store, target="uid-a")
    while True:
        sizes.append(len(page.events))
        sequences += [one.sequence for one in page.events]
        if not page.more:
            break
        page = story(store, target="uid-a", before=page.before)

    assert sizes == [20, 20, 5]
    assert sequences == sorted(set(sequences), reverse=True)


def test_no_statement_walks_through_a_table(store: world.World) -> None:
    leaps = (object_history._NEXT_KIND, object_history._NEXT_GROUP)
    for sql in (
        object_history._SEQUENCES,
        object_history._EVENT_ROWS,
        object_history._TRIED,
        object_history._PRESENT,
        object_history._BY_UID,
        *leaps,
    ):
        plan = [row[3] for row in store.ledger.rows(f"EXPLAIN QUERY PLAN {sql}", (0,) * sql.count("?"))]
        free = ("json_each", "j")
        assert not [step for step in plan if step.startswith("SCAN") and step.split()[1] not in free], plan
        assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_kinds_are_found_by_leaps_though_no_scope_is_configured_for_them_now(tmp_path: Path) -> None:
    config_maps, deployments = world.scope_of(), world.scope_of("Deployment", api_version="apps/v1")
    secrets = world.scope_of("Secret")
    store = world.World(tmp_path / "e.db", config_maps, deployments, secrets)
    for number, scope in enumerate(store.scopes):
        store.open(scope)
        store.relist(10, *(world.seen(f"a{more}", 5, uid=f"{number}-{more}") for more in range(50)), scope=scope)
    store.ledger.run("DELETE FROM cursors")
    steps: list[str] = []
    row = store.ledger.row
    teller = object_history.ObjectHistory(store.ledger, ())

    def noted(sql: str, values: database.Values = ()) -> database.Row | None:
        steps.append(sql)
        return row(sql, values)

    store.ledger.row = noted  # type: ignore[method-assign]

    kinds = list(teller._kinds_held())

    assert kinds == [("", "ConfigMap"), ("", "Secret"), ("apps", "Deployment")]
    assert len(steps) <= 2 * (len(kinds) + 1)
    (plan,) = (step[3] for step in store.ledger.rows(f"EXPLAIN QUERY PLAN {object_history._NEXT_KIND}", ("", "")))
    assert "api_group=? AND kind>?" in plan


def test_covering_scopes_are_returned_with_their_conditions(tmp_path: Path) -> None:
    asks = world.scope_of(values=["a", "b"], excluded=("hidden",), selector="app=web")
    store = world.World(tmp_path / "e.db", asks)

    (shown,) = story(store, kind="ConfigMap", namespace="ns", name="x").covering
    (hidden,) = story(store, kind="ConfigMap", namespace="hidden", name="x").covering

    assert (shown.excluded, shown.listed, shown.selects, shown.values) == (False, False, True, ("a", "b"))
    assert shown.annotation == world.ANNOTATION
    assert hidden.excluded
    unknown = story(store, kind="Secret", namespace="ns", name="x")
    assert (unknown.known, unknown.covering, unknown.kinds) == (False, (), ("ConfigMap",))


def test_a_discarded_delivery_is_returned_with_the_reason(store: world.World) -> None:
    emit(store, 1)
    (first,) = store.claim(1).deliveries
    store.claim(0, replace(world.delivered(first), result=model.DeliveryResult.FAILED))
    store.ask(wire.Discard(deliveries=((first.id, 0),), reason="no longer wanted"))

    (event,) = story(store, target="uid-a").events

    assert (event.state, event.reason) == (model.DeliveryState.DISCARDED, "no longer wanted")
    emitted = explain_output.why(story(store, target="uid-a"), [event], {})
    assert emitted == [f"Event {event.id} was discarded by an operator (no longer wanted)."]


def test_an_object_that_the_configuration_left_behind_is_unmanaged_since_then(store: world.World) -> None:
    emit(store, 1)
    store.deliver_all()
    store.restart(world.scope_of("Secret"))

    emitted = story(store, kind="ConfigMap", namespace="ns", name="a")

    (why,) = explain_output.why(emitted, emitted.events, {})
    assert why == (
        f"Unmanaged since {formatting.precise(store.clock.us)}: the configuration no longer accepts it, and no events"
        " are emitted for it."
    )
    assert emitted.covering == ()
