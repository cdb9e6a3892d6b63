"""The state of each endpoint in a scrape: exactly one, from the ledger first, and a bounded number of endpoints."""

from dataclasses import replace
from typing import Any

import pytest

from beacon import wire
from beacon.exporter import endpoint_states, snapshot, store_poller
from beacon.exporter.endpoint_states import State
from beacon.runtime import run_directory
from tests.unit.exporter import views

MINUTE_AGO_US = int((views.NOW - 60) * 1e6)
NOTHING = dict.fromkeys(("ready", "waiting", "queued", "in_flight", "failed"), 0)


def counted(name: str, **changes: Any) -> wire.EndpointStatistics:
    return replace(views.statistics().endpoints[0], endpoint=name, **changes)


def reported(name: str, state: str, **changes: Any) -> run_directory.Report:
    return replace(views.report("notifier", "endpoint", state, endpoint=name), **changes)


def states(*known: wire.EndpointStatistics, reports: tuple[run_directory.Report, ...] = ()) -> dict[str, Any]:
    store = store_poller.StoreAnswer(state="ready", statistics=views.statistics(endpoints=known))
    seen: snapshot.Snapshot = views.well(store=store, reports=reports)
    return {one.endpoint: (one.state, one.since) for one in endpoint_states.states(seen, known)}


@pytest.mark.parametrize("state", ["unknown", "up", "down", "faulty"])
def test_the_notifier_reports_the_state_of_an_endpoint_that_it_serves(state: str) -> None:
    assert states(counted("a"), reports=(reported("a", state),)) == {"a": (State(state), views.NOW - 60)}


def test_each_endpoint_has_the_state_of_its_own_report() -> None:
    reports = (reported("a", "down"), views.report("notifier", "claim", "claiming", endpoint="b"), reported("b", "up"))

    found = states(counted("a"), counted("b"), counted("c"), reports=reports)

    assert [state for state, _ in found.values()] == [State.DOWN, State.UP, State.UNKNOWN]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"paused_us": MINUTE_AGO_US - 5_000_000}, State.PAUSED),
        ({"removed_us": MINUTE_AGO_US - 5_000_000}, State.REMOVED),
    ],
)
def test_what_an_operator_did_to_an_endpoint_comes_before_its_last_answer(change: Any, state: State) -> None:
    found = states(counted("a", **change), reports=(reported("a", "up"),))

    assert found == {"a": (state, views.NOW - 65)}


@pytest.mark.parametrize("answer", ["up", "down", "unknown"])
def test_a_parked_endpoint_stays_parked_however_it_answers(answer: str) -> None:
    found = states(counted("a", parked_us=MINUTE_AGO_US - 5_000_000), reports=(reported("a", answer),))

    assert found == {"a": (State.PARKED, views.NOW - 65)}


def test_what_an_operator_did_comes_before_parking() -> None:
    found = states(counted("a", parked_us=1, paused_us=MINUTE_AGO_US), counted("b", parked_us=1, removed_us=2))

    assert found == {"a": (State.PAUSED, views.NOW - 60), "b": (State.REMOVED, 2 / 1e6)}


def test_a_removed_endpoint_is_removed_even_if_it_was_paused() -> None:
    (found,) = states(counted("a", paused_us=1, removed_us=MINUTE_AGO_US)).values()

    assert found == (State.REMOVED, views.NOW - 60)


@pytest.mark.parametrize("report", [None, reported("a", "a state of another release"), reported("a", "up", pid=999)])
def test_an_endpoint_without_a_valid_report_is_unknown(report: run_directory.Report | None) -> None:
    assert states(counted("a"), reports=(report,) if report else ()) == {"a": (State.UNKNOWN, 0)}


def test_a_scrape_shows_all_configured_endpoints_and_at_most_32_removed_ones_unfinished_ones_first() -> None:
    configured = [counted(f"used-{number}") for number in range(40)]
    unfinished = [counted(f"open-{number}", removed_us=1 + number, **NOTHING | {"queued": 1}) for number in range(3)]
    unfinished.append(counted("failed", removed_us=1, **NOTHING | {"failed": 1}))
    finished = [counted(f"done-{number}", removed_us=100 + number, **NOTHING) for number in range(40)]

    shown = endpoint_states.shown(views.statistics(endpoints=(*finished, *unfinished, *configured)))
    names = {one.endpoint for one in shown}

    assert {one.endpoint for one in (*configured, *unfinished)} <= names
    assert names - {one.endpoint for one in (*configured, *unfinished)} == {f"done-{n}" for n in range(12, 40)}
