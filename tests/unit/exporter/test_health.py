"""Liveness and readiness: which faults fail them, which don't, and the reasons shown."""

from dataclasses import replace
from typing import Any

import pytest

from beacon import wire
from beacon.exporter import health, snapshot, store_poller
from beacon.runtime import run_directory
from beacon.runtime.supervision import ProgramState
from tests.unit.exporter import views


def ready(seen: snapshot.Snapshot, scopes: int = 1) -> health.Checks:
    return health.readiness(seen, scopes=scopes)


def test_a_healthy_beacon_is_live_and_ready() -> None:
    assert health.passed(ready(views.well()))
    assert health.passed(health.liveness(views.well()))


def test_it_is_not_ready_while_the_store_does_not_answer_and_states_the_reason() -> None:
    silent = store_poller.StoreAnswer(state="silent", why="the store did not answer within 0.8 s")

    checks = ready(views.well(store=silent))

    assert not health.passed(checks)
    assert (checks["store"].ok, checks["store"].state) == (False, "silent")
    assert "0.8 s" in checks["store"].why
    assert checks["watcher"].ok
    assert checks["notifier"].ok


def test_a_store_that_opens_its_ledger_is_live_and_not_ready() -> None:
    opening = store_poller.StoreAnswer(
        state="checking", since_us=int(views.NOW * 1e6), why="the store is not serving yet"
    )
    seen = views.well(store=opening)

    assert health.passed(health.liveness(seen))
    assert ready(seen)["store"].state == "checking"
    assert not health.passed(ready(seen))


@pytest.mark.parametrize("state", ["listing", "forbidden", "unauthorized", "unreachable", "refused", "opening"])
def test_it_is_not_ready_while_a_scope_is_not_followed(state: str) -> None:
    reports = (views.scope(state, listed=False, reason="no right to list pods"), views.well().reports[1])

    checks = ready(views.well(reports=reports))

    assert not checks["watcher"].ok
    assert checks["watcher"].why == f"Pod: {state}"
    assert checks["watcher"].scopes is not None
    assert checks["watcher"].scopes["Pod"].why == "no right to list pods"


def test_a_scope_whose_kind_is_not_served_yet_does_not_prevent_readiness() -> None:
    reports = (views.scope("waiting", listed=False), views.well().reports[1])
    seen = views.well(
        reports=reports, store=store_poller.StoreAnswer(state="ready", statistics=views.statistics(scopes=()))
    )

    assert health.passed(ready(seen))


def test_a_watch_that_is_being_reopened_is_ready_only_for_a_while() -> None:
    reports = (views.scope("opening"), views.well().reports[1])
    since = views.NOW - 60  # of the report

    assert health.passed(ready(views.well(reports=reports, now=since + 5)))
    assert not health.passed(ready(views.well(reports=reports, now=since + 20)))


def test_it_is_not_ready_while_the_store_does_not_know_a_scope_as_listed() -> None:
    unlisted = views.statistics(scopes=())

    checks = ready(views.well(store=store_poller.StoreAnswer(state="ready", statistics=unlisted)))

    assert not checks["watcher"].ok


def test_it_is_not_ready_before_every_scope_has_started() -> None:
    checks = ready(views.well(), scopes=2)

    assert (checks["watcher"].ok, checks["watcher"].why) == (False, "1 of 2 scopes have started")


def test_reports_of_an_earlier_process_are_ignored() -> None:
    checks = ready(views.with_program("watcher", pid=99))

    assert not checks["watcher"].ok


def test_it_is_not_ready_before_the_notifier_has_claimed() -> None:
    for reports in ((views.scope(),), (views.scope(), views.report("notifier", "claim", "waiting"))):
        checks = ready(views.well(reports=reports))

        assert not checks["notifier"].ok


def test_no_endpoint_that_is_paused_after_an_error_makes_a_check_fail_not_even_the_only_one() -> None:
    paused = views.report("notifier", "claim", "paused after an unexpected error, see the log")
    faulty = views.report("notifier", "endpoint", "faulty", endpoint="default")
    unclaimed = store_poller.StoreAnswer(state="ready", statistics=views.statistics(claimed_us=0))

    checks = ready(views.well(reports=(views.scope(), paused, faulty), store=unclaimed))

    assert health.passed(checks)
    assert (checks["notifier"].ok, checks["notifier"].state) == (True, paused.state)
    assert (checks["endpoint"].ok, checks["endpoint"].state) == (False, "faulty")


def endpoint_report(name: str, state: str) -> run_directory.Report:
    return views.report("notifier", "endpoint", state, endpoint=name, breaker="open" if state == "down" else "closed")


def test_each_of_several_endpoints_is_named_and_none_fails_a_check() -> None:
    states = {"a": "down", "b": "faulty", "c": "up"}
    claims = {"a": "claiming", "b": "paused after an unexpected error, see the log", "c": "claiming"}
    reports = [endpoint_report(name, state) for name, state in states.items()]
    reports += [views.report("notifier", "claim", state, endpoint=name) for name, state in claims.items()]
    seen = views.well(reports=(views.scope(), *reports))

    for checks in (ready(seen), health.liveness(seen)):
        assert health.passed(checks)
        shown = health.plain(checks)["endpoint"]
        assert (shown["ok"], shown["required"], shown["why"]) == (False, False, "a: down; b: faulty")
        assert {name: one["state"] for name, one in shown["endpoints"].items()} == states
        assert shown["endpoints"]["a"]["breaker"] == "open"


def counted(name: str, **changes: Any) -> wire.EndpointStatistics:
    return replace(views.statistics().endpoints[0], endpoint=name, **changes)


def test_a_paused_endpoint_and_a_removed_one_with_deliveries_are_named_and_fail_no_check() -> None:
    since_us = int((views.NOW - 60) * 1e6)
    none = dict.fromkeys(("ready", "waiting", "queued", "in_flight", "failed"), 0)
    known = (
        counted("a", paused_us=since_us, paused_reason="upgrade"),
        counted("b"),
        counted("c", removed_us=since_us),
        counted("d", removed_us=since_us, **none),
    )
    reports = (views.scope(), *(endpoint_report(name, "up") for name in "ab"))
    claims = [views.report("notifier", "claim", "claiming", endpoint=name) for name in "ab"]
    store = store_poller.StoreAnswer(state="ready", statistics=views.statistics(endpoints=known))
    seen = views.well(reports=(*reports, *claims), store=store)

    for checks in (ready(seen), health.liveness(seen)):
        assert health.passed(checks)
        shown = health.plain(checks)["endpoint"]
        assert {name: (one["ok"], one["state"]) for name, one in shown["endpoints"].items()} == {
            "a": (False, "paused"),
            "b": (True, "up"),
            "c": (False, "removed"),
        }
        assert shown["endpoints"]["a"]["why"] == "paused by an operator: upgrade"
        assert shown["endpoints"]["a"]["since"] == "2027-01-15T07:59:00.000000Z"
        assert (
            shown["endpoints"]["c"]["why"] == "it is not configured any more, and has 10 open and 5 failed deliveries"
        )


def test_the_only_endpoint_is_shown_as_paused() -> None:
    paused = counted("default", paused_us=1)
    store = store_poller.StoreAnswer(state="ready", statistics=views.statistics(endpoints=(paused,)))
    up = views.report("notifier", "endpoint", "up", endpoint="default")
    others = tuple(one for one in views.well().reports if one.component != "endpoint")

    checks = ready(views.well(store=store, reports=(up, *others)))

    assert health.passed(checks)
    assert (checks["endpoint"].state, checks["endpoint"].endpoints) == ("paused", None)


def test_a_parked_endpoint_is_named_with_its_cause_and_fails_no_check() -> None:
    since_us = int((views.NOW - 60) * 1e6)
    parked = counted("a", parked_us=since_us, parked_cause="unauthorized")
    claims = [views.report("notifier", "claim", "claiming", endpoint=name) for name in "ab"]
    for known in ((parked,), (parked, counted("b"))):
        reports = (views.scope(), *(endpoint_report(one.endpoint, "up") for one in known), *claims[: len(known)])
        store = store_poller.StoreAnswer(state="ready", statistics=views.statistics(endpoints=known))
        seen = views.well(reports=reports, store=store)

        for checks in (ready(seen), health.liveness(seen)):
            assert health.passed(checks)
            shown = health.plain(checks)["endpoint"]
            one = shown["endpoints"]["a"] if "endpoints" in shown else shown
            assert (one["ok"], one["state"], one["since"]) == (False, "parked", "2027-01-15T07:59:00.000000Z")
            assert one["why"] == "it refuses every event (unauthorized), and gets only probes until it accepts one"


def test_it_is_not_ready_while_an_endpoint_waits_for_the_store() -> None:
    paused, waiting = "paused after an unexpected error, see the log", "waiting for the store"
    for states in ((paused, waiting), ("claiming", waiting)):
        claims = [views.report("notifier", "claim", state, endpoint=str(number)) for number, state in enumerate(states)]
        assert not ready(views.well(reports=(views.scope(), *claims)))["notifier"].ok


def test_it_is_not_ready_before_a_restarted_store_has_received_a_claim() -> None:
    unclaimed = store_poller.StoreAnswer(state="ready", statistics=views.statistics(claimed_us=0))

    assert not ready(views.well(store=unclaimed))["notifier"].ok


def test_claims_of_an_earlier_notifier_do_not_count() -> None:
    assert not ready(views.with_program("notifier", pid=99))["notifier"].ok


def test_an_endpoint_that_is_down_does_not_prevent_readiness() -> None:
    down = views.report("notifier", "endpoint", "down", breaker="open")

    checks = ready(views.well(reports=(down, *views.well().reports)))

    assert health.passed(checks)
    said = health.plain(checks)["endpoint"]
    assert (said["ok"], said["required"], said["state"], said["breaker"]) == (False, False, "down", "open")
    assert said["since"] == down.since


@pytest.mark.parametrize(
    ("component", "state"),
    [("backup", "failed"), ("cleaner", "failed"), ("storage", "unknown"), ("endpoint", "down"), ("endpoint", "faulty")],
)
def test_optional_checks_are_shown_with_their_reason(component: str, state: str) -> None:
    process = "notifier" if component == "endpoint" else "reconciler"
    ill = views.report(process, component, state, reason="for this")

    checks = ready(views.well(reports=(ill, *views.well().reports)))

    assert health.passed(checks)
    assert (checks[component].ok, checks[component].state, checks[component].why) == (False, state, "for this")


def test_scheduled_backups_are_a_check_where_they_are_configured() -> None:
    report = views.report("reconciler", "backup", "waiting", made_us=1, reason="")

    checks = ready(views.well(reports=(*views.well().reports, report)))

    assert "backup" not in ready(views.well())
    assert (checks["backup"].ok, checks["backup"].state, checks["backup"].required) == (True, "waiting", False)


def test_without_the_reconciler_cleaner_and_storage_are_not_ok() -> None:
    checks = ready(views.with_program("reconciler", state=ProgramState.BACKOFF, pid=0))

    assert {name for name, check in checks.items() if not check.ok} == {"reconciler", "cleaner", "storage"}
    assert health.passed(checks)


def test_a_nearly_full_volume_is_shown_by_a_passing_check() -> None:
    critical = views.report("reconciler", "storage", "critical", reason="97% of the bytes are used")

    check = ready(views.well(reports=(critical, *views.well().reports)))["storage"]

    assert (check.ok, check.state, check.why) == (True, "critical", "97% of the bytes are used")


def test_the_stores_round_trip_and_each_scopes_list_and_position_are_shown() -> None:
    said = health.plain(ready(views.well()))

    assert said["store"]["round_trip_ms"] == 1.2
    assert (said["watcher"]["scopes"]["Pod"]["listed"], said["watcher"]["scopes"]["Pod"]["position_age_s"]) == (True, 3)
    assert said["storage"]["since"] == said["watcher"]["scopes"]["Pod"]["since"] == "2027-01-15T07:59:00.000000Z"


@pytest.mark.parametrize("name", ["store", "watcher", "notifier"])
@pytest.mark.parametrize("state", [ProgramState.BACKOFF, ProgramState.STOPPED, ProgramState.EXITED])
def test_it_is_live_but_not_ready_while_a_process_restarts(name: str, state: ProgramState) -> None:
    seen = views.with_program(name, state=state, pid=0, why="Exited too quickly")

    checks = ready(seen)

    assert (checks[name].ok, checks[name].state, checks[name].why) == (False, state.lower(), "Exited too quickly")
    assert health.passed(health.liveness(seen))


def test_a_process_that_has_just_started_does_not_prevent_readiness() -> None:
    assert health.passed(ready(views.with_program("watcher", state=ProgramState.STARTING)))


def test_a_process_that_is_being_stopped_is_not_ready() -> None:
    assert not health.passed(ready(views.with_program("store", state=ProgramState.STOPPING)))


def test_a_fatal_process_fails_liveness() -> None:
    seen = views.with_program("watcher", state=ProgramState.FATAL, pid=0, why="Exited too quickly")

    assert health.liveness(seen)["watcher"].state == "fatal"
    assert not health.passed(health.liveness(seen))


def test_a_thread_that_hangs_for_a_minute_fails_liveness_and_readiness() -> None:
    beats = (*views.well().beats, views.beat("notifier", 61, thread="claims"))
    seen = views.well(beats=beats)

    assert "'claims' has not moved for 61 s" in health.liveness(seen)["notifier"].why
    assert not health.passed(health.liveness(seen))
    assert ready(seen)["notifier"].state == "hung"


def test_the_heartbeat_of_an_exited_process_is_ignored() -> None:
    beats = (*views.well().beats, views.beat("notifier", 600, pid=4711))

    assert health.passed(health.liveness(views.well(beats=beats)))


def test_a_supervisord_that_does_not_answer_fails_liveness() -> None:
    seen = views.well(supervisor_error="supervisord does not answer: timed out")

    assert not health.passed(health.liveness(seen))
    assert health.liveness(seen)["supervisor"].why.endswith("timed out")


def test_since_is_when_a_check_entered_its_state() -> None:
    history = health.History()
    bad, good = {"store": health.Check(ok=False, state="silent")}, {"store": health.Check(ok=True, state="ready")}
    first = history.stamp(bad, 100.0)["store"].since

    assert history.stamp(bad, 200.0)["store"].since == first
    assert history.stamp(good, 300.0)["store"].since > first


def test_since_of_a_repeated_state_is_when_it_was_entered_again() -> None:
    history = health.History()
    starting = {"cleaner": health.Check(ok=False, state="starting")}
    said = {"cleaner": health.Check(ok=True, state="done", since="2027-01-15T07:59:00.000000Z")}
    first = history.stamp(starting, 100.0)["cleaner"].since

    assert history.stamp(said, 200.0) == said
    assert history.stamp(starting, 300.0)["cleaner"].since > first


def test_checks_are_rendered_with_all_their_fields() -> None:
    rendered = health.plain(ready(views.well()))

    required = {"store", "watcher", "notifier", "supervisor", "exporter"}
    assert {name for name, said in rendered.items() if said["required"]} == required
    assert set(rendered) == required | {"reconciler", "cleaner", "storage", "endpoint"}
    assert set(rendered["supervisor"]) == {"ok", "required", "state", "since", "why"}
    assert rendered["watcher"]["scopes"]["Pod"]["ok"] is True
