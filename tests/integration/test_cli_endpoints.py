"""Commands for several endpoints, against a running store."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from beacon import errors, wire
from beacon.cli.commands import events
from beacon.domain import model, parking
from beacon.store.ledger import endpoints
from tests.integration.test_cli_ledger import beacon, served
from tests.integration.test_store_process import Place, place  # noqa: F401  a fixture
from tests.unit.store import test_parking, world

NAMES = ("audit", "billing")


def configure(place: Place, *names: str, **changes: Any) -> None:  # noqa: F811
    """Write a configuration with these endpoints."""
    config = {
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "annotation": {"key": world.ANNOTATION},
        "events": {"updated": True},
        "endpoints": [{"name": one, "url": f"http://127.0.0.1:9/{one}"} | changes.get(one, {}) for one in names],
    }
    place.config.write_text(json.dumps(config))


def ledger(place: Place, *names: str) -> world.World:  # noqa: F811
    """Return a ledger in which each endpoint has refused `a`, has got `b`, and waits for `c` and its next event."""
    store = world.World(
        place.data / "events.db", endpoints_=tuple(endpoints.LedgerEndpoint(name=one) for one in names), updates=True
    )
    store.open()
    store.relist(10, world.seen("a", 5), world.seen("b", 6))
    for name in names:
        a, b = store.claim(endpoint=name, session=name, number=1).deliveries
        refused = replace(world.delivered(a), result=model.DeliveryResult.FAILED, status=401, code="401")
        store.claim(0, refused, world.delivered(b), endpoint=name, session=name, number=2)
    store.observe(10, 11, world.seen("c", 11, model.ChangeKind.ADDED))
    store.observe(11, 12, world.seen("c", 12, value="other"))
    return store


@pytest.fixture
def here(place: Place) -> Place:  # noqa: F811
    configure(place, *NAMES)
    ledger(place, *NAMES).ledger.close()
    served(place)
    return place


def listed(place: Place, *arguments: str) -> list[tuple[str, str, str]]:  # noqa: F811
    found = json.loads(beacon(place, "events", "--oldest-first", "-o", "json", *arguments).stdout)
    return [(one["delivery"]["endpoint"], one["object"]["name"], one["delivery"]["state"]) for one in found]


def numbers(place: Place, name: str) -> tuple[int, int, int]:  # noqa: F811
    """Return an endpoint's open, failed and discarded deliveries."""
    with place.client() as client:
        (one,) = [one for one in client.call(wire.Inspect()).endpoints if one.endpoint == name]
    return one.ready + one.waiting + one.queued + one.in_flight, one.failed, one.discarded


def state(place: Place, name: str) -> wire.EndpointStatistics:  # noqa: F811
    with place.client() as client:
        return next(one for one in client.call(wire.Inspect()).endpoints if one.endpoint == name)


def test_events_are_shown_with_their_endpoint_and_filtered_by_it(here: Place) -> None:
    head, *rows = beacon(here, "events").stdout.splitlines()

    assert head.split()[-1] == "ENDPOINT"
    assert {row.split()[-1] for row in rows} == set(NAMES)
    billing = [("billing", "a", "failed"), ("billing", "b", "delivered"), ("billing", "c", "ready")]
    assert listed(here, "--endpoint", "billing") == [*billing, ("billing", "c", "queued")]
    assert listed(here, "--endpoint", "audit", "--state", "failed") == [("audit", "a", "failed")]


def test_an_unknown_endpoint_is_wrong_use_and_the_known_ones_are_named(here: Place) -> None:
    commands = (
        ("events",),
        ("redeliver",),
        ("discard", "--reason", "r"),
        ("tail",),
        ("explain", "ConfigMap", "ns/a"),
        ("status",),
        ("pause",),
        ("resume",),
        ("test-event",),
    )
    for command in commands:
        done = beacon(here, *command, "--endpoint", "bill")

        assert (done.returncode, done.stdout) == (2, ""), command
        assert "no endpoint 'bill' is known: the endpoints are audit, billing (see" in done.stderr, command


@pytest.mark.parametrize("command", ["pause", "resume", "test-event"])
def test_what_means_one_endpoint_is_wrong_use_without_its_name_where_there_are_several(
    here: Place, command: str
) -> None:
    done = beacon(here, command)

    assert (done.returncode, done.stdout) == (2, "")
    assert "there are several endpoints: name one with --endpoint: audit, billing" in done.stderr


def test_a_pause_holds_over_restarts_with_its_reason_until_it_is_ended(here: Place) -> None:
    paused = beacon(here, "pause", "--endpoint", "billing", "--reason", "upgrade")
    here.started[0].kill()
    here.started[0].wait()
    served(here)
    again = json.loads(beacon(here, "pause", "--endpoint", "billing", "-o", "json").stdout)
    seen = state(here, "billing")
    others = state(here, "audit")

    resumed = [beacon(here, "resume", "--endpoint", "billing") for _ in range(2)]

    assert (paused.returncode, paused.stdout) == (
        errors.EXIT_OK,
        "endpoint billing is paused; beacon resume --endpoint billing ends that\n",
    )
    assert (again["endpoint"], again["paused"], again["wasPaused"]) == ("billing", True, True)
    assert (seen.paused_us > 0, seen.paused_reason, "uid" in seen.paused_by) == (True, "upgrade", True)
    assert others.paused_us == 0
    assert [one.stdout for one in resumed] == [
        "endpoint billing is resumed\n",
        "endpoint billing was neither paused nor parked\n",
    ]
    ended = state(here, "billing")
    assert (ended.paused_us, ended.paused_by, ended.paused_reason) == (0, "", "")


def test_a_parked_endpoint_is_shown_with_its_cure_and_the_end_of_the_parking_restores_what_it_refused(
    place: Place,  # noqa: F811
) -> None:
    configure(place, "default")
    known = endpoints.LedgerEndpoint(name="default", park=parking.ParkingRules())
    store = world.World(place.data / "events.db", endpoints_=(known,), updates=True)
    store.open()
    store.relist(10)
    notifier = test_parking.Notifier(store)
    test_parking.refuse(store, notifier, "a", "b", "c")
    store.clock.advance(1.5)
    notifier.claim(want=0)
    store.ledger.close()
    served(place)

    status = beacon(place, "status")
    shown = json.loads(beacon(place, "status", "-o", "json").stdout)
    story = beacon(place, "explain", "ConfigMap", "a", "-n", "ns").stdout
    listed = [one["delivery"] for one in json.loads(beacon(place, "events", "-o", "json").stdout)]
    wide = beacon(place, "events", "-o", "wide").stdout
    resumed = json.loads(beacon(place, "resume", "-o", "json").stdout)
    again = beacon(place, "resume").stdout

    assert status.returncode == errors.EXIT_FAILURE
    assert "(unauthorized), 3 pending; replace the token or the client certificate" in status.stdout
    assert [(one["state"], one["why"]) for one in shown["endpoints"]] == [("parked", "unauthorized")]
    assert (shown["deliveries"][0]["parkedCause"], shown["deliveries"][0]["failed"]) == ("unauthorized", 0)
    assert "Endpoint default has been parked since " in story
    assert "restored: its refusal spoke against the endpoint, so it is sent again" in story
    assert "the next attempt is due" not in story
    assert (resumed["wasParked"], resumed["wasPaused"], resumed["restored"]) == ("unauthorized", False, 0)
    assert resumed["toRestore"] == 0
    assert [(one["generation"], one["restores"]) for one in listed] == [(1, 1)] * 3
    assert wide.count("1 (1 restored)") == 3
    assert again == "endpoint default was neither paused nor parked\n"
    assert state(place, "default").parked_us == 0


def test_the_only_endpoint_needs_no_name(place: Place) -> None:  # noqa: F811
    ledger(place, "default").ledger.close()
    served(place)

    paused = beacon(place, "pause")

    assert paused.stdout == "endpoint default is paused; beacon resume --endpoint default ends that\n"
    assert beacon(place, "resume").stdout == "endpoint default is resumed\n"
    assert "ENDPOINT" not in beacon(place, "events").stdout


@pytest.fixture
def without_billing(here: Place) -> Place:
    here.started[0].kill()
    here.started[0].wait()
    configure(here, "audit")
    served(here)
    return here


def test_the_deliveries_of_a_removed_endpoint_end_together_after_a_question(without_billing: Place) -> None:
    command = ("discard", "--endpoint", "billing", "--reason", "shut down")
    unconfirmed = beacon(without_billing, *command, answer="n\n")
    shown = beacon(without_billing, *command, "--dry-run")
    before = numbers(without_billing, "billing")

    done = beacon(without_billing, *command, answer="y\n")

    assert (unconfirmed.returncode, "All 3 open and failed deliveries to billing" in unconfirmed.stderr) == (1, True)
    assert "3 would be discarded" in shown.stderr
    assert (before, numbers(without_billing, "billing")) == ((2, 1, 0), (0, 0, 3))
    assert (done.returncode, done.stdout) == (errors.EXIT_OK, "3 discarded, 0 refused\n")
    assert numbers(without_billing, "audit") == (2, 1, 0)
    assert json.loads(beacon(without_billing, *command, "-o", "json").stdout) == {"done": 0, "refused": []}
    assert listed(without_billing, "--endpoint", "billing", "--state", "discarded") == [
        ("billing", "a", "discarded"),
        ("billing", "c", "discarded"),
        ("billing", "c", "discarded"),
    ]


def test_a_filter_or_a_configured_endpoint_limits_discard_to_failed_deliveries(without_billing: Place) -> None:
    for name, narrowed in (("billing", ("-n", "ns")), ("audit", ())):
        done = beacon(without_billing, "discard", "--reason", "r", "--endpoint", name, *narrowed)

        assert (done.stdout, numbers(without_billing, name)) == ("1 discarded, 0 refused\n", (2, 0, 1))
    none = beacon(without_billing, "discard", "--reason", "r", "--endpoint", "billing", "-n", "", "--yes")
    assert (none.stdout, numbers(without_billing, "billing")) == ("0 discarded, 0 refused\n", (2, 0, 1))


def test_explain_shows_which_endpoint_gets_an_object_and_limits_the_number_of_events(here: Place) -> None:
    here.started[0].kill()
    here.started[0].wait()
    configure(here, *NAMES, billing={"select": {"names": ["c"], "types": ["created", "deleted"]}})
    served(here)

    both = json.loads(beacon(here, "explain", "ConfigMap", "ns/c", "-o", "json").stdout)
    latest = json.loads(beacon(here, "explain", "ConfigMap", "ns/c", "--limit", "1", "-o", "json").stdout)
    other = json.loads(beacon(here, "explain", "ConfigMap", "ns/a", "-o", "json").stdout)
    one = json.loads(beacon(here, "explain", "cm/c", "-n", "ns", "--endpoint", "billing", "-o", "json").stdout)
    text = beacon(here, "explain", "ConfigMap", "ns/a").stdout

    assert [(each["type"], each["delivery"]["endpoint"]) for each in both["events"]] == [
        ("created", "audit"),
        ("created", "billing"),
        ("updated", "audit"),
        ("updated", "billing"),
    ]
    assert [(each["sequence"], each["delivery"]["endpoint"]) for each in latest["events"]] == [
        (4, "audit"),
        (4, "billing"),
    ]
    assert [(each["endpoint"], each["selected"], each["types"]) for each in both["endpoints"]] == [
        ("audit", True, ["created", "updated", "deleted"]),
        ("billing", True, ["created", "deleted"]),
    ]
    assert "Endpoint billing does not get this object: no pattern of its select.names matches 'a'." in other["why"]
    assert {each["delivery"]["endpoint"] for each in one["events"]} == {"billing"}
    assert [each["endpoint"] for each in one["endpoints"]] == ["billing"]
    assert "endpoints\n  audit    created, updated, deleted  last written" in text
    assert "\n  billing  nothing" in text


def test_a_redelivery_stays_with_its_endpoint(here: Place) -> None:
    done = beacon(here, "redeliver", "--endpoint", "billing", "--state", "delivered")

    assert done.stdout == "1 redelivered, 0 refused\n"
    with here.client() as client:
        found = client.call(wire.FindDeliveries(selection=wire.DeliveryFilter(name="b"))).deliveries
    assert [(one.endpoint, one.state, one.generation) for one in found] == [
        ("audit", model.DeliveryState.DELIVERED, 0),
        ("billing", model.DeliveryState.READY, 1),
    ]


def test_the_shell_completes_the_names_of_endpoints(here: Place) -> None:
    environ = {"BEACON_RUN_DIR": str(here.directory)}
    parameter = next(one for one in events.command.params if one.name == "endpoint")

    with click.Context(events.command) as context, pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        found = {start: [one.value for one in parameter.shell_complete(context, start)] for start in ("", "b", "x")}
        patch.setenv("BEACON_RUN_DIR", str(Path("/nowhere")))
        elsewhere = parameter.shell_complete(context, "")

    assert found == {"": ["audit", "billing"], "b": ["billing"], "x": []}
    assert elsewhere == []
