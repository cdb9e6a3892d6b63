"""The gauges of a scrape: all statistics of the ledger and the processes, and no unknown ones."""

import os
from dataclasses import replace

import pytest

from beacon.exporter import endpoint_states, gauges, health, scrape, snapshot, store_poller
from beacon.runtime.supervision import ProgramState
from tests.unit.exporter import views

STATES = ("ready", "waiting", "queued", "in_flight")


def samples(seen: snapshot.Snapshot) -> dict[str, float]:
    made = gauges.families(seen, health.readiness(seen, scopes=1))
    return {
        sample.name + "".join(f"{{{value}}}" for _, value in sorted(sample.labels.items())): sample.value
        for family in made
        for sample in family.samples
    }


def test_the_ledgers_statistics_are_exported() -> None:
    shown = samples(views.well())

    assert shown["beacon_tracked_objects{Pod}"] == 8
    pending = {s: shown[f"beacon_deliveries_pending{{default}}{{{s}}}"] for s in STATES}
    assert pending == {"ready": 1, "waiting": 2, "queued": 3, "in_flight": 4}
    assert shown["beacon_deliveries_failed{default}"] == 5
    assert shown["beacon_deliveries_suspected{default}"] == 1
    assert shown["beacon_oldest_pending_age_seconds{default}"] == pytest.approx(30)
    assert shown["beacon_db_rows{tracked}{objects}"] == 8
    assert (shown["beacon_db_size_bytes"], shown["beacon_db_wal_bytes"]) == (4096, 100)


def test_each_endpoint_has_one_of_its_states_and_since_when() -> None:
    one = views.statistics().endpoints[0]
    known = (one, replace(one, endpoint="gone", removed_us=5_000_000, ready=0, oldest_us=0))
    reports = (views.report("notifier", "endpoint", "down", endpoint="default"),)
    store = store_poller.StoreAnswer(state="ready", statistics=views.statistics(endpoints=known))

    shown = samples(views.well(store=store, reports=reports))

    states = {name: value for name, value in shown.items() if name.startswith("beacon_endpoint_state{")}
    assert len(states) == 2 * len(endpoint_states.State)
    assert {name for name, value in states.items() if value} == {
        "beacon_endpoint_state{default}{down}",
        "beacon_endpoint_state{gone}{removed}",
    }
    assert shown["beacon_endpoint_state_timestamp_seconds{default}"] == views.NOW - 60
    assert shown["beacon_endpoint_state_timestamp_seconds{gone}"] == 5
    assert (shown["beacon_deliveries_pending{gone}{ready}"], shown["beacon_deliveries_failed{gone}"]) == (0, 5)


def test_nothing_pending_is_an_age_of_zero() -> None:
    endpoint = views.statistics().endpoints[0]
    none = replace(endpoint, ready=0, waiting=0, queued=0, in_flight=0, oldest_us=0)

    shown = samples(
        views.well(store=store_poller.StoreAnswer(state="ready", statistics=views.statistics(endpoints=(none,))))
    )

    assert shown["beacon_oldest_pending_age_seconds{default}"] == 0


def test_a_silent_store_has_no_statistics_and_is_down() -> None:
    shown = samples(views.well(store=store_poller.StoreAnswer(state="silent", why="no answer")))

    assert not [
        name
        for name in shown
        if name.startswith(("beacon_db_", "beacon_deliveries_", "beacon_tracked", "beacon_endpoint_"))
    ]
    assert shown["beacon_component_up{store}"] == 0
    assert shown["beacon_process_up{store}"] == 1


def test_processes_that_run_are_up_and_the_others_are_not() -> None:
    shown = samples(views.with_program("watcher", state=ProgramState.BACKOFF, pid=0))

    assert (shown["beacon_process_up{store}"], shown["beacon_process_up{watcher}"]) == (1, 0)
    assert "beacon_process_heartbeat_timestamp_seconds{watcher}" not in shown


def test_the_slowest_thread_is_the_processs_heartbeat() -> None:
    beats = (views.beat("store", 1), views.beat("store", 20, thread="other"))

    shown = samples(views.well(beats=beats))

    assert shown["beacon_process_heartbeat_timestamp_seconds{store}"] == views.NOW - 20


def test_memory_and_cpu_time_come_from_the_kernel() -> None:
    shown = samples(views.with_program("store", pid=os.getpid()))

    assert 5e6 < shown["beacon_process_resident_memory_bytes{store}"] < 5e9
    assert shown["beacon_process_cpu_seconds_total{store}"] > 0
    assert gauges.usage_of(0) is None


def test_last_successes_are_those_of_the_work_itself() -> None:
    shown = samples(views.well())

    assert shown["beacon_component_last_success_timestamp_seconds{watcher}"] == views.NOW - 3
    assert shown["beacon_component_last_success_timestamp_seconds{notifier}"] == views.NOW - 1
    assert shown["beacon_component_last_success_timestamp_seconds{reconciler}"] == views.NOW - 4
    assert shown["beacon_component_last_success_timestamp_seconds{cleaner}"] == views.NOW - 5
    assert shown["beacon_component_last_success_timestamp_seconds{storage}"] == views.NOW - 6


def test_a_component_is_up_exactly_if_its_check_passes() -> None:
    components = ("watcher", "store", "notifier", "reconciler", "cleaner", "storage", "exporter")
    failed = views.report("reconciler", "cleaner", "failed")

    well, ill = samples(views.well()), samples(views.well(reports=(failed, *views.well().reports)))

    assert [well[f"beacon_component_up{{{name}}}"] for name in components] == [1] * 7
    assert [name for name in components if ill[f"beacon_component_up{{{name}}}"] == 0] == ["cleaner"]


def test_the_output_is_valid_openmetrics() -> None:
    seen = views.well()
    made = gauges.families(seen, health.readiness(seen, scopes=1))

    body, _ = scrape.render(made, "application/openmetrics-text;version=1.0.0")

    assert b"beacon_build_info{" in body
    assert body.endswith(b"# EOF\n")
