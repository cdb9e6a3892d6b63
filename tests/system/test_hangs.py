"""The real processes hang, the sentinel restarts them, and events are delivered again."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import remote
from tests.system.conftest import ANNOTATION, MakeBeacon

WORKERS = ("store", "watcher", "notifier", "exporter")
SECRETS = "/api/v1/namespaces/default/secrets"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
# The real watcher, except that a thread which asks the API server for Secrets hangs once the file is there.
WATCHER = """
import os, threading
from beacon.runtime import process
from beacon.watcher import __main__, scope_watch
look = scope_watch.ScopeWatch._check_stop
def hang(self):
    look(self)
    if self.name == "Secret" and os.path.exists({hang!r}):
        os.unlink({hang!r})
        threading.Event().wait()
scope_watch.ScopeWatch._check_stop = hang
process.run("watcher", __main__.main)
"""


def create(cluster: remote.Remote, path: str, name: str) -> None:
    cluster.request("POST", path, {"metadata": {"name": name, "annotations": {ANNOTATION: "1"}}})


def killed(beacon: testkit.Beacon) -> list[str]:
    return sorted(line["program"] for line in beacon.logged("killed", process="sentinel"))


def until(condition: Callable[[], object], what: str) -> None:
    testkit.until(condition, what, timeout=90)


def test_frozen_processes_are_restarted_and_events_are_delivered_again(
    cluster: remote.Remote, sink: endpoint.SinkServer, make_beacon: MakeBeacon
) -> None:
    beacon = make_beacon()
    beacon.environ["BEACON_SENTINEL_HUNG_S"] = "15"
    with beacon:
        beacon.wait_ready()

        for name in WORKERS:
            beacon.kill(name, signal.SIGSTOP)
        create(cluster, CONFIGMAPS, "c")

        stats = sink.wait_for(lambda stats: stats.distinct == 1, timeout=90)
        beacon.wait_ready()
        assert killed(beacon) == sorted(WORKERS)
        assert (stats.duplicates, stats.refused, beacon.plain_lines) == (0, 0, [])


def test_a_watcher_with_one_hung_scope_is_restarted_and_the_events_arrive(
    place: Path, cluster: remote.Remote, sink: endpoint.SinkServer, make_beacon: MakeBeacon
) -> None:
    hang = place / "hang"
    python = place / "bin" / "python"
    python.parent.mkdir()
    script = python.with_name("watcher.py")
    script.write_text(WATCHER.format(hang=str(hang)))
    python.write_text(
        f'#!/bin/sh\n[ "$2" = beacon.watcher ] && exec {sys.executable} {script}\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    kinds = [{"apiVersion": "v1", "kind": kind} for kind in ("ConfigMap", "Secret")]
    beacon = make_beacon(resources=kinds)
    beacon.environ |= {"BEACON_SENTINEL_HUNG_S": "15", "PATH": f"{python.parent}:{beacon.environ['PATH']}"}
    with beacon:
        beacon.wait_ready()

        hang.touch()
        cluster.call("drop", resource="secrets")  # so that its scope asks again
        until(lambda: not hang.exists(), "a hung thread")
        create(cluster, SECRETS, "s")

        sink.wait_for(lambda stats: stats.distinct == 1, timeout=90)
        (line,) = beacon.logged("killed", process="sentinel")
        assert line["program"] == "watcher"
        assert "Secret" in line["thread"]
