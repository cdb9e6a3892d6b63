"""Processes are frozen or killed while the cluster changes; no event is lost, false or out of order."""

import contextlib
import random
import signal

from beacon import errors
from beacon.dev import testkit
from tests.system import load, running

PROCESSES = ("store", "watcher", "reconciler", "notifier", "exporter")
HUNG_S = 6  # instead of 60: the sentinel's rule is the same
CONCURRENCY = 5
UNCONFIRMED = 32  # settlements that may not be committed yet: docs/guarantees.md, P5


def check(whole: running.Everything, changes: load.Load) -> None:
    """Wait for all expected events, and verify that there is no other one and none out of order."""
    load.wait_until_delivered(changes, whole.sink, timeout=120)
    stats = whole.sink.stats()
    assert load.received(whole.sink) == changes.expected
    assert (stats.order_violations, stats.overlaps, stats.chain_gaps) == (0, 0, 0)


def test_each_process_that_freezes_under_load_is_restarted_and_no_event_is_lost() -> None:
    environ = {"BEACON_SENTINEL_HUNG_S": str(HUNG_S)}
    with running.everything(environ=environ) as whole, load.Load(whole.cluster, seed=1, pause_s=0.02) as changes:
        for process in PROCESSES:
            frozen = whole.beacon.kill(process, signal.SIGSTOP)

            testkit.until(
                lambda process=process, frozen=frozen: whole.beacon.pids().get(process, frozen) != frozen,  # type: ignore[misc]
                f"another {process}",
                timeout=90,
            )
        changes.stop()

        check(whole, changes)
        assert {line["program"] for line in whole.beacon.logged("killed", process="sentinel")} >= set(PROCESSES)


def test_forty_kills_of_watcher_notifier_and_pod_lose_no_event() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    # The sentinel would delay processes that die so often.
    environ = {"BEACON_SENTINEL_FREE_DEATHS": "100"}
    with running.everything(environ=environ) as whole, load.Load(whole.cluster, seed=seed, pause_s=0.01) as changes:
        killed = dict.fromkeys(("watcher", "notifier", "pod"), 0)

        while sum(killed.values()) < 40:
            load.pause(chance, 0.05, 0.7)
            (target,) = chance.choices(list(killed), weights=(9, 9, 1))
            if target == "pod":
                whole.beacon.halt()
                whole.beacon.start()
                killed[target] += 1
                continue
            with contextlib.suppress(ProcessLookupError, errors.TransientError):  # the pod is still starting
                whole.beacon.kill(target)
                killed[target] += 1
        changes.stop()

        check(whole, changes)
        allowed = (CONCURRENCY + UNCONFIRMED) * (killed["notifier"] + killed["pod"])
        assert whole.sink.stats().duplicates <= allowed
