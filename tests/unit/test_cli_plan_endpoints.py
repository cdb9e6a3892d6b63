"""What `beacon plan` counts for each endpoint."""

import hashlib
from collections import Counter
from typing import Any

import click
import pytest

from beacon import wire
from beacon.cli.commands.plan import endpoints, model, rendering
from beacon.configuration import settings
from beacon.domain import model as domain
from beacon.store import wiring

CREATED, UPDATED, DELETED = domain.EventType.CREATED, domain.EventType.UPDATED, domain.EventType.DELETED
URL = "http://s/"


def tree(*configured: dict[str, Any], updates: bool = True) -> settings.Settings:
    return settings.from_plain(
        {
            "resources": [{"api_version": "v1", "kind": "Pod"}],
            "events": {"updated": updates},
            "endpoints": [{"url": URL, **one} for one in configured],
        }
    )


def pod(name: str, namespace: str = "a") -> model.ObjectName:
    return model.ObjectName(group="", kind="Pod", namespace=namespace, name=name)


def known(of: settings.EndpointSettings, *, updates: bool = True, **changes: Any) -> wire.StoredEndpoint:
    """Return the row of an endpoint that was configured so at the last start."""
    config = wiring.ledger_config_of(settings.Settings(resources=(), endpoints=(of,)))
    values: dict[str, Any] = {
        "name": of.name,
        "url_digest": hashlib.sha256(of.url.encode()).hexdigest(),
        "selection": config.endpoints[0].recorded,
        "updates": updates,
        "removed": False,
        "unsettled": 0,
    }
    return wire.StoredEndpoint(**{**values, **changes})


def row(name: str, value: str = "v", state: domain.ObjectState = domain.ObjectState.TRACKED) -> wire.StoredObject:
    return wire.StoredObject(
        uid=f"uid-{name}", group="", kind="Pod", namespace="a", state=state, epoch=0, resource_version=1,
        judged_by="", accepted_by="", value=value, name=name,
    )  # fmt: skip


def forecast(
    configured: settings.Settings,
    outcome: model.ObjectsAfterStart,
    *before: wire.StoredEndpoint,
    views: dict[str, dict[str, tuple[str, str]]] | None = None,
    rows: tuple[wire.StoredObject, ...] = (),
) -> dict[str, tuple[str, int, dict[str, int], dict[str, int]]]:
    """Return each endpoint's change, objects, events and those of a catch-up."""
    kept = endpoints.LedgerEndpoints(
        known={one.name: one for one in before},
        views={name: {pod(object_): view for object_, view in found.items()} for name, found in (views or {}).items()},
    )
    ledger = model.Ledger(cluster="c", epoch=0, objects={one.uid: one for one in rows})
    return {
        one.name: (one.change.value, one.objects, named(one.events or {}), named(one.catch_up))
        for one in endpoints.forecast(configured, outcome, ledger, kept)
    }


def named(counts: Any) -> dict[str, int]:
    return {type_.value: number for type_, number in counts.items()}


def outcome(
    *tracked: tuple[str, str], left: tuple[str, ...] = (), **events: list[domain.EventType]
) -> model.ObjectsAfterStart:
    return model.ObjectsAfterStart(
        tracked={pod(name): (f"uid-{name}", value) for name, value in tracked},
        left={pod(name) for name in left},
        events={pod(name): found for name, found in events.items()},
    )


def test_an_unchanged_endpoint_gets_the_events_of_the_changes_that_it_selects_and_no_catch_up() -> None:
    configured = tree({"name": "all"}, {"name": "some", "select": {"names": ["a"], "types": ["created"]}})
    after = outcome(("a", "2"), ("b", "1"), a=[UPDATED], b=[CREATED], c=[DELETED])

    found = forecast(configured, after, *map(known, configured.endpoints), views={"all": {"old": ("uid-old", "1")}})

    assert found == {
        "all": ("", 2, {"updated": 1, "created": 1, "deleted": 1}, {}),
        "some": ("", 1, {}, {}),
    }


def test_a_new_endpoint_gets_what_exists_and_with_start_now_only_what_changes() -> None:
    configured = tree({"name": "old"}, {"name": "late"}, {"name": "now", "start": "now"})
    after = outcome(("a", "1"), ("b", "1"), ("c", "1"), left=("u",), c=[CREATED])

    found = forecast(configured, after, known(configured.endpoint), rows=(row("a", "1"), row("b", "1")))

    assert found == {
        "old": ("", 3, {"created": 1}, {}),
        "late": ("new", 3, {"created": 3}, {"created": 2}),
        "now": ("new", 3, {"created": 1}, {}),
    }


def test_a_changed_endpoint_is_compared_with_what_was_written_for_it() -> None:
    (before,) = tree({"name": "one", "select": {"names": ["a"]}}).endpoints
    configured = tree({"name": "one", "select": {"names": ["?"]}})
    views = {"a": ("uid-a", "1"), "b": ("other", "1"), "d": ("uid-d", "1"), "u": ("uid-u", "1"), "none": ("x", "1")}
    after = outcome(("a", "2"), ("b", "1"), ("c", "1"), left=("u",), a=[UPDATED])

    found = forecast(configured, after, known(before), views={"one": views})

    # a has another value, b another UID, c is new to it, d is gone, u is unmanaged, and `none` is not selected.
    assert found["one"] == (
        "changed",
        3,
        {"updated": 1, "deleted": 2, "created": 2},
        {"deleted": 2, "created": 2},
    )


@pytest.mark.parametrize(("updates", "expected"), [(True, {"updated": 1}), (False, {})])
def test_an_endpoint_that_returns_gets_another_value_only_with_updates(updates: bool, expected: dict[str, int]) -> None:
    configured = tree({"name": "one"}, updates=updates)

    found = forecast(
        configured,
        outcome(("a", "2"), ("long", "x" * 5000)),
        known(configured.endpoint, removed=True),
        views={"one": {"a": ("uid-a", "1"), "long": ("uid-long", "x" * 4096)}},
    )

    assert found["one"] == ("returns", 2, expected, expected)


@pytest.mark.parametrize(
    ("changes", "change"), [({}, "renamed"), ({"url_digest": "other"}, "new"), ({"removed": True}, "new")]
)
def test_only_the_only_endpoint_at_the_same_url_is_renamed(changes: dict[str, Any], change: str) -> None:
    (before,) = tree({"name": "old"}).endpoints
    configured = tree({"name": "new"})
    stored = known(before, unsettled=3, **changes)

    found = forecast(configured, outcome(("a", "1")), stored, views={"old": {"a": ("uid-a", "1")}})
    kept = endpoints.LedgerEndpoints(known={"old": stored}, views={})
    gone = list(endpoints.sentences(endpoints.removed(configured, kept)))

    assert found["new"][0] == change
    assert found["new"][2] == ({} if change == "renamed" else {"created": 1})
    expected = ["endpoint old will be removed, and get no new events: its 3 open or failed deliveries are kept"]
    assert gone == (expected if changes.keys() == {"url_digest"} else [])


def test_the_recorded_selection_is_that_of_the_store() -> None:
    for one in tree(
        {"name": "a"},
        {"name": "b", "select": {"kinds": ["Pod"], "types": ["deleted", "created"]}},
        {"name": "c", "exclude": {"namespaces": ["x-*"]}, "select": {"types": ["created", "updated", "deleted"]}},
    ).endpoints:
        stored = known(one)
        assert (
            forecast(tree({"name": "other"}, {"name": one.name} | changed(one)), outcome(), stored)[one.name][0] == ""
        )


def changed(one: settings.EndpointSettings) -> dict[str, Any]:
    plain = settings.to_plain(settings.Settings(resources=(), endpoints=(one,)))["endpoints"]
    assert isinstance(plain, list)
    return {name: plain[0][name] for name in ("select", "exclude")}


def values(*found: endpoints.EndpointForecast, compared: bool = True) -> list[str]:
    return [click.unstyle(line) for line in rendering._endpoints(endpoints.plain(found), compared=compared)]


def test_endpoints_are_shown_if_there_are_several_or_one_is_caught_up() -> None:
    def one(name: str, *caught_up: domain.EventType, compared: bool = True) -> endpoints.EndpointForecast:
        events = Counter(caught_up)
        change = endpoints.Change.NEW if caught_up else endpoints.Change.NONE
        return endpoints.EndpointForecast(
            name=name, change=change, objects=2, events=events if compared else None, catch_up=events
        )

    assert values(one("a")) == []
    assert [" ".join(line.split()) for line in values(one("a", CREATED, CREATED, DELETED), one("b"))] == [
        "",
        "ENDPOINT OBJECTS CREATED UPDATED DELETED CHANGE",
        "a 2 2 0 1 new",
        "b 2 0 0 0 -",
        "a is new: a catch-up sends 2 created, 1 deleted to it alone",
    ]
    assert [
        " ".join(line.split()) for line in values(one("a", compared=False), one("b", compared=False), compared=False)
    ] == [
        "",
        "ENDPOINT OBJECTS",
        "a 2",
        "b 2",
    ]


@pytest.mark.parametrize("with_ledger", [True, False])
def test_the_forecast_of_a_scope_has_the_objects_after_the_start(with_ledger: bool) -> None:
    from tests.unit import test_cli_plan_model as scan  # noqa: PLC0415  its objects

    rows = tuple(scan.row(state, judged_by=rule) for state, rule in ((scan.TRACKED, scan.SAME),))
    after = model.ObjectsAfterStart()
    made = model.Forecast(scan.scope(), scan.ledger(*rows) if with_ledger else None, updates=True, outcome=after)
    made.see(scan.seen(scan.ACCEPTED, value="w"), annotated=True)
    made.finish()

    subject = model.ObjectName(group="", kind="Pod", namespace="x", name="n")
    assert after.tracked == {subject: ("u", "w")}
    assert after.events == ({subject: [UPDATED]} if with_ledger else {})
