"""Processes are frozen or killed while the cluster changes; no event is lost, false or out of order."""

import contextlib
import random
import signal

import pytest

from beacon import errors
from beacon.dev import testkit
from tests.system import load, running

HUNG_S = 6  # instead of 60: the sentinel's rule is the same
CONCURRENCY = 5
UNCONFIRMED = 32  # settlements that may not be committed yet: docs/guarantees.md, P5


def check(whole: running.Everything, changes: load.Load) -> None:
    """Wait for all expected events, and verify that there is no other one and none out of order."""
    load.wait_until_delivered(changes, whole.sink, timeout=120)
    stats = whole.sink.stats()
    assert load.received(whole.sink) == changes.expected
    assert (stats.order_violations, stats.overlaps, stats.chain_gaps) == (0, 0, 0)


# In parts, which run beside each other.
@pytest.mark.parametrize("processes", [("store", "watcher", "reconciler"), ("notifier", "exporter")], ids="-".join)
def test_each_process_that_freezes_under_load_is_restarted_and_no_event_is_lost(processes: tuple[str, ...]) -> None:
    environ = {"BEACON_SENTINEL_HUNG_S": str(HUNG_S)}
    with running.everything(environ=environ) as whole, load.Load(whole.cluster, seed=1, pause_s=0.02) as changes:
        for process in processes:
            frozen = whole.beacon.kill(process, signal.SIGSTOP)

            testkit.until(
                lambda process=process, frozen=frozen: whole.beacon.pids().get(process, frozen) != frozen,  # type: ignore[misc]
                f"another {process}",
                timeout=90,
            )
        changes.stop()

        check(whole, changes)
        assert {line["program"] for line in whole.beacon.logged("killed", process="sentinel")} >= set(processes)


@pytest.mark.parametrize("_part", [1, 2, 3, 4])
def test_ten_kills_of_watcher_notifier_and_pod_lose_no_event(_part: int) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    # The sentinel would delay processes that die so often.
    environ = {"BEACON_SENTINEL_FREE_DEATHS": "100"}
    # supervisord waits longer after each death at the start of a program; the pod's restart begins anew.
    targets = [*chance.choices(("watcher", "notifier"), k=5), "pod", *chance.choices(("watcher", "notifier"), k=4)]
    with running.everything(environ=environ) as whole, load.Load(whole.cluster, seed=seed, pause_s=0.01) as changes:
        for target in targets:
            load.pause(chance, 0.05, 0.7)
            while not killed(whole, target):
                load.pause(chance, 0.05, 0.7)
        changes.stop()

        check(whole, changes)
        allowed = (CONCURRENCY + UNCONFIRMED) * (len(targets) - targets.count("watcher"))
        assert whole.sink.stats().duplicates <= allowed


def killed(whole: running.Everything, target: str) -> bool:
    """Kill a process, or restart the pod; return False if the process is not running at the moment."""
    if target == "pod":
        whole.beacon.halt()
        whole.beacon.start()
        return True
    assert whole.beacon.process is not None
    assert whole.beacon.process.poll() is None, "the pod has ended"
    with contextlib.suppress(ProcessLookupError, errors.TransientError):  # the pod is still starting
        whole.beacon.kill(target)
        return True
    return False
