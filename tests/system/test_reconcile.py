"""Reconciliation finds the changes that the watch has missed, and nothing else."""

import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.dev import endpoint, testkit
from tests.system import load, running

EVERY_SECOND = {"reconciliation": {"enabled": True, "onStartup": True, "interval": "1s", "timeout": "900ms"}}
NOW_AND_THEN = {"reconciliation": {"enabled": True, "onStartup": True, "interval": "6s", "timeout": "5s"}}
ON = {load.ANNOTATION: "true"}


def tampered(beacon: testkit.Beacon, *statements: str) -> None:
    with closing(sqlite3.connect(Path(beacon.environ["DB_PATH"]))) as ledger:
        for statement in statements:
            ledger.execute(statement)
        ledger.commit()


def sources(sink: endpoint.SinkServer) -> list[tuple[str, str, str]]:
    """Return (name, type, source) of every request."""
    bodies = [codec.decode(attempt.request.body) for attempt in sink.events()]
    return [(body["subject"], body["type"].rpartition(".")[2], body["data"]["detection"]["source"]) for body in bodies]


def completed(beacon: testkit.Beacon) -> float:
    return testkit.sample(beacon.metrics(), "beacon_reconcile_runs_total", result="complete")


def drift_lines(beacon: testkit.Beacon) -> list[dict[str, Any]]:
    return [line for line in beacon.lines if line.get("event") == "drift found"]


def test_events_lost_while_beacon_was_down_are_delivered_within_one_interval() -> None:
    with running.everything(changes=NOW_AND_THEN) as all_:
        for name in ("kept", "forgotten"):
            all_.cluster.put("configmaps", {"metadata": {"name": name, "namespace": "default", "annotations": ON}})
        all_.sink.wait_for(lambda stats: stats.distinct == 2)
        all_.beacon.stop()
        forgotten = "(SELECT id FROM order_keys WHERE name = 'forgotten')"
        tampered(
            all_.beacon,
            "INSERT INTO order_keys (api_group, kind, namespace, name, bucket)"
            " SELECT api_group, kind, namespace, 'ghost', 0 FROM order_keys WHERE name = 'kept'",
            "INSERT INTO objects SELECT 'ghost', g.id, o.api_group, o.kind, o.namespace, state, epoch,"
            " resource_version, judged_by, accepted_by, value, labels, annotations, changed_us FROM objects o"
            " JOIN order_keys k ON k.id = o.key, order_keys g WHERE k.name = 'kept' AND g.name = 'ghost'",
            f"DELETE FROM deliveries WHERE key = {forgotten}",
            f"DELETE FROM events WHERE key = {forgotten}",
            f"DELETE FROM objects WHERE key = {forgotten}",
        )

        all_.beacon.start()

        all_.beacon.wait_ready()
        missed = {("forgotten", "created", "reconciliation"), ("ghost", "deleted", "reconciliation")}
        testkit.until(lambda: missed <= set(sources(all_.sink)), "the missed events to be delivered", timeout=15)
        assert len(sources(all_.sink)) == 4
        testkit.until(lambda: drift_lines(all_.beacon), "the warning", timeout=60)
        (line,) = drift_lines(all_.beacon)
        assert (line["level"], line["missed_creations"], line["missed_deletions"]) == ("warning", 1, 1)
        testkit.until(lambda: completed(all_.beacon) >= 1, "the end of the comparison", timeout=20)
        shown = all_.beacon.metrics()
        for drift in ("missed_creation", "missed_deletion"):
            assert testkit.sample(shown, "beacon_drift_total", kind="ConfigMap", drift=drift) == 1


def test_continuous_reconciliation_beside_a_busy_and_sometimes_frozen_watcher_emits_no_false_event() -> None:
    chance = random.Random(7)
    with running.everything(changes=EVERY_SECOND) as all_:
        began = completed(all_.beacon)
        with load.Load(all_.cluster, seed=7, pause_s=0.004) as changing:
            freezes = 0
            while freezes < 4 or completed(all_.beacon) < began + 3:
                freezes += 1
                assert freezes < 100, "no comparison completes"
                load.pause(chance, 0.8, 1.6)
                frozen = all_.beacon.pids()["watcher"]
                os.kill(frozen, signal.SIGSTOP)
                load.pause(chance, 0.5, 1.5)
                os.kill(frozen, signal.SIGCONT)
            load.pause(chance, 0.8, 1.6)
        load.wait_until_delivered(changing, all_.sink)

        assert load.received(all_.sink) == changing.expected
        assert {source for _, _, source in sources(all_.sink)} <= {"watch", "mutation"}
        assert drift_lines(all_.beacon) == []
        assert testkit.sample(all_.beacon.metrics(), "beacon_drift_total") == 0


def test_scopes_of_one_kind_and_kinds_of_one_name_do_not_report_each_others_objects_missing() -> None:
    resources = [
        {"apiVersion": "v1", "kind": "ConfigMap", "namespaces": ["a", "b"]},
        {"apiVersion": "v1", "kind": "ConfigMap", "namespaces": ["b", "c"]},
        {"apiVersion": "example.com/v1", "kind": "ConfigMap"},
    ]
    with running.everything(changes={**EVERY_SECOND, "resources": resources}) as all_:
        all_.cluster.define("configmaps", "example.com", "ConfigMap")
        for namespace in ("a", "b", "c"):
            all_.cluster.namespace(namespace)
            mine = {"name": "same", "namespace": namespace, "annotations": ON}
            all_.cluster.put("configmaps", {"metadata": mine})
            all_.cluster.put("configmaps.example.com", {"metadata": mine})
        all_.sink.wait_for(lambda stats: stats.distinct == 6, timeout=20)
        done = completed(all_.beacon)

        testkit.until(lambda: completed(all_.beacon) >= done + 10, "ten more comparisons", timeout=60)

        assert [change for _, change, _ in sources(all_.sink)] == ["created"] * 6
        assert drift_lines(all_.beacon) == []
