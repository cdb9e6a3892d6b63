"""The guarantees, tested on the complete system: real supervisord, real processes, real sockets."""

import contextlib
import random
import signal

import pytest

from beacon.dev import testkit
from tests.system import load, running

PROCESSES = ("store", "watcher", "reconciler", "notifier", "exporter")
CONCURRENCY = 5
UNCONFIRMED = 32  # settlements that may not be committed yet: docs/guarantees.md, P5


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_of_any_process_at_any_time_loses_no_event_and_keeps_the_order(seed: int) -> None:
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

        load.wait_until_delivered(changes, whole.sink, timeout=60)
        stats = whole.sink.stats()
        assert load.received(whole.sink) == changes.expected
        assert (stats.order_violations, stats.overlaps, stats.chain_gaps) == (0, 0, 0)
        assert stats.duplicates <= (CONCURRENCY + UNCONFIRMED) * killed["notifier"]


def test_changes_in_a_compacted_history_are_found_by_a_list_and_the_gap_is_recorded() -> None:
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

        delivered = {
            (each.event.name, each.event.type.rpartition(".")[2]) for each in whole.sink.events() if each.event
        }
        assert delivered == {("stays", "created"), ("goes", "created"), ("goes", "deleted"), ("comes", "created")}
        closed = whole.beacon.logged
        testkit.until(lambda: closed("gap closed", reason="expired", scope="configmaps"), "the gap's end", timeout=20)
        (gap,) = closed("gap closed", reason="expired", scope="configmaps")
        assert gap["differences"] == 2


def test_a_restored_cluster_is_detected_and_its_changes_delivered() -> None:
    with running.everything() as whole:
        backup = whole.cluster.faults.snapshot()
        whole.cluster.create("configmaps", annotated("undone"))
        whole.sink.wait_for(lambda stats: stats.accepted == 1)
        for number in range(10):  # else a restore can't be detected: docs/guarantees.md
            whole.cluster.create("configmaps", {"metadata": {"name": f"plain{number}", "namespace": "default"}})

        whole.cluster.faults.rewind(backup)
        whole.cluster.create("configmaps", annotated("afterwards"))
        whole.sink.wait_for(lambda stats: stats.accepted >= 3)

        delivered = {
            (each.event.name, each.event.type.rpartition(".")[2]) for each in whole.sink.events() if each.event
        }
        assert delivered == {("undone", "created"), ("undone", "deleted"), ("afterwards", "created")}


def test_an_outage_only_delays_events() -> None:
    with running.everything() as whole:
        whole.sink.stop()
        for number in range(50):
            whole.cluster.create("configmaps", annotated(f"o{number}"))
        testkit.until(
            lambda: testkit.sample(whole.beacon.metrics(), "beacon_breaker_open") == 1, "the breaker", timeout=20
        )
        whole.beacon.wait_ready()  # an endpoint that is down is no reason to be unready

        whole.sink.start()

        stats = whole.sink.wait_for(lambda stats: stats.distinct == 50)
        assert stats.order_violations == 0
        assert 'outcome="failed"' not in whole.beacon.metrics()


@pytest.mark.parametrize("status", [500, 503])
def test_fifty_events_do_not_wait_for_a_thousand_failing_ones(status: int) -> None:
    rules = [{"name_prefix": "bad", "status": status}]
    with running.everything(rules=rules) as whole:
        for number in range(1050):
            whole.cluster.create("configmaps", annotated(f"good{number}" if number % 21 == 20 else f"bad{number}"))

        stats = whole.sink.wait_for(lambda stats: stats.accepted == 50, timeout=90)

        assert stats.by_status[str(status)] > 0
        pending = "beacon_deliveries_pending"
        testkit.until(lambda: testkit.sample(whole.beacon.metrics(), pending) == 1000, "the failing ones", timeout=20)


def test_sigterm_stops_everything_in_order_with_all_deliveries_settled() -> None:
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


def test_a_frozen_store_makes_it_unready_and_loses_no_event() -> None:
    with running.everything() as whole:
        whole.beacon.kill("store", signal.SIGSTOP)
        for number in range(20):
            whole.cluster.create("configmaps", annotated(f"o{number}"))
        testkit.until(lambda: not whole.beacon.ready()["ready"], "not being ready", timeout=20)
        testkit.until(lambda: whole.beacon.ready()["checks"].get("store", {}).get("why"), "the reason", timeout=20)

        whole.beacon.kill("store", signal.SIGCONT)

        whole.sink.wait_for(lambda stats: stats.distinct == 20)
        whole.beacon.wait_ready()


def test_several_beacons_run_side_by_side() -> None:
    with running.everything() as one, running.everything() as other:
        one.cluster.create("configmaps", annotated("a"))
        other.cluster.create("configmaps", annotated("b"))

        one.sink.wait_for(lambda stats: stats.accepted == 1)
        other.sink.wait_for(lambda stats: stats.accepted == 1)

        all_of_it = len(PROCESSES) + 1  # and the sentinel
        testkit.until(lambda: one.beacon.status().count("RUNNING") == all_of_it, "all to run", timeout=20)


def annotated(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: "true"}}}
