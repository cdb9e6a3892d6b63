"""The promises, shown on the whole: real supervisord, real processes, real sockets."""

import contextlib
import random
import signal

import pytest

from beacon.dev import testkit as wholes
from tests.system import load, running

PROCESSES = ("store", "watcher", "reconciler", "notifier", "exporter")
CONCURRENCY = 5
UNCONFIRMED = 32  # answers that need not be on disk yet: docs/guarantees.md, P5


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_of_any_process_at_any_time_loses_nothing_and_keeps_the_order(seed: int) -> None:
    chance = random.Random(seed)
    with running.everything() as whole, load.Load(whole.cluster, seed=seed) as changes:
        killed = dict.fromkeys(PROCESSES, 0)

        for _ in range(14):
            load.pause(chance, 0.1, 1.2)
            process = chance.choice(PROCESSES)
            with contextlib.suppress(ProcessLookupError):
                whole.beacon.kill(process)
                killed[process] += 1
        changes.stop()

        load.wait_until_told(changes, whole.sink, timeout=60)
        stats = whole.sink.stats()
        assert load.received(whole.sink) == changes.told
        assert (stats.order_violations, stats.overlaps, stats.chain_gaps) == (0, 0, 0)
        assert stats.duplicates <= (CONCURRENCY + UNCONFIRMED) * killed["notifier"]


def test_what_the_api_server_forgot_is_found_by_a_list_and_the_gap_is_recorded() -> None:
    with running.everything() as whole:
        for name in ("stays", "goes"):
            whole.cluster.create("configmaps", annotated(name))
        whole.sink.wait_for(lambda stats: stats.accepted == 2)
        whole.beacon.stop()
        whole.cluster.delete("configmaps", "goes")
        whole.cluster.create("configmaps", annotated("comes"))
        whole.cluster.restart()

        whole.beacon.start()
        whole.beacon.wait_ready()
        whole.sink.wait_for(lambda stats: stats.accepted >= 4)

        told = {(each.event.name, each.event.type.rpartition(".")[2]) for each in whole.sink.events() if each.event}
        assert told == {("stays", "created"), ("goes", "created"), ("goes", "deleted"), ("comes", "created")}
        gaps = whole.beacon.logged("gap closed", reason="expired")
        assert {gap["scope"]: gap["differences"] for gap in gaps}["configmaps"] == 2


def test_a_cluster_restored_to_an_earlier_state_is_found_and_told() -> None:
    with running.everything() as whole:
        backup = whole.cluster.faults.snapshot()
        whole.cluster.create("configmaps", annotated("undone"))
        whole.sink.wait_for(lambda stats: stats.accepted == 1)
        for number in range(10):  # a restore that is overtaken before Beacon looks can't be seen: docs/guarantees.md
            whole.cluster.create("configmaps", {"metadata": {"name": f"plain{number}", "namespace": "default"}})

        whole.cluster.faults.rewind(backup)
        whole.cluster.create("configmaps", annotated("afterwards"))
        whole.sink.wait_for(lambda stats: stats.accepted >= 3)

        told = {(each.event.name, each.event.type.rpartition(".")[2]) for each in whole.sink.events() if each.event}
        assert told == {("undone", "created"), ("undone", "deleted"), ("afterwards", "created")}


def test_an_outage_costs_nothing_but_time() -> None:
    with running.everything() as whole:
        whole.sink.stop()
        for number in range(50):
            whole.cluster.create("configmaps", annotated(f"o{number}"))
        wholes.until(
            lambda: wholes.sample(whole.beacon.metrics(), "beacon_breaker_open") == 1, "the breaker", timeout=20
        )

        whole.sink.start()

        stats = whole.sink.wait_for(lambda stats: stats.distinct == 50)
        assert stats.order_violations == 0
        assert 'outcome="failed"' not in whole.beacon.metrics()
        assert whole.beacon.ready()["ready"], "an endpoint that is down is no reason to be unready"


@pytest.mark.parametrize(("status", "within_s"), [(500, 5), (503, 90)])
def test_a_thousand_events_that_always_fail_do_not_hold_up_fifty_that_do_not(status: int, within_s: int) -> None:
    rules = [{"name_prefix": "bad", "status": status}]
    with running.everything(rules=rules) as whole:
        for number in range(1050):
            whole.cluster.create("configmaps", annotated(f"good{number}" if number % 21 == 20 else f"bad{number}"))

        stats = whole.sink.wait_for(lambda stats: stats.accepted == 50, timeout=within_s)

        assert stats.by_status[str(status)] > 0


def test_sigterm_ends_everything_in_order_with_everything_settled() -> None:
    with running.everything() as whole:
        for number in range(100):
            whole.cluster.create("configmaps", annotated(f"o{number}"))

        assert whole.beacon.stop() == 0

        assert whole.beacon.living() == set()
        ended = [line["process"] for line in whole.beacon.logged("ended")]
        assert ended == ["watcher", "reconciler", "notifier", "exporter", "store", "sentinel"]
        before = whole.sink.stats()
        whole.beacon.start()
        whole.beacon.wait_ready()
        whole.sink.wait_for(lambda stats: stats.distinct == 100)
        assert whole.sink.stats().duplicates == before.duplicates == 0


def test_a_frozen_store_makes_it_unready_and_loses_nothing() -> None:
    with running.everything() as whole:
        whole.beacon.kill("store", signal.SIGSTOP)
        for number in range(20):
            whole.cluster.create("configmaps", annotated(f"o{number}"))
        wholes.until(lambda: not whole.beacon.ready()["ready"], "not being ready", timeout=20)
        why = whole.beacon.ready()["checks"]["store"]["why"]

        whole.beacon.kill("store", signal.SIGCONT)

        assert why
        whole.sink.wait_for(lambda stats: stats.distinct == 20)
        whole.beacon.wait_ready()


def test_several_beacons_run_side_by_side() -> None:
    with running.everything() as one, running.everything() as other:
        one.cluster.create("configmaps", annotated("a"))
        other.cluster.create("configmaps", annotated("b"))

        one.sink.wait_for(lambda stats: stats.accepted == 1)
        other.sink.wait_for(lambda stats: stats.accepted == 1)

        assert one.beacon.status().count("RUNNING") == len(PROCESSES) + 1  # and the sentinel


def annotated(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: "true"}}}
