"""The complete Beacon, as a user starts it: the changes in the cluster are delivered, and nothing else."""

import json
import signal
import sys
from pathlib import Path

import pytest

from beacon import errors
from beacon.dev import child, endpoint, testkit
from beacon.dev.api_server import remote
from tests.integration import processes
from tests.system.conftest import ANNOTATION, MakeBeacon

MERGE = "application/merge-patch+json"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KINDS = [{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "example.com/v1", "kind": "Widget"}]
PROCESSES = {"supervisord", "store", "watcher", "reconciler", "notifier", "exporter", "sentinel"}


def define_widgets(cluster: remote.Remote) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    cluster.request(
        "POST",
        CRDS,
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
        },
    )


def create(cluster: remote.Remote, path: str, name: str, value: str | None = None) -> None:
    annotations = {} if value is None else {ANNOTATION: value}
    kind = {"apiVersion": "example.com/v1", "kind": "Widget"} if path == WIDGETS else {}
    cluster.request("POST", path, {**kind, "metadata": {"name": name, "annotations": annotations}})


def annotate(cluster: remote.Remote, path: str, name: str, value: str | None) -> None:
    patch = {"metadata": {"annotations": {ANNOTATION: value}}}
    cluster.request("PATCH", f"{path}/{name}", patch, content_type=MERGE)


def delivered(sink: endpoint.SinkServer) -> list[tuple[str, str, str]]:
    events = [attempt.event for attempt in sink.events() if attempt.event is not None]
    return [(event.name, event.type.rpartition(".")[2], event.value) for event in events]


def test_only_the_changes_of_two_kinds_arrive_in_order(
    cluster: remote.Remote, sink: endpoint.SinkServer, make_beacon: MakeBeacon
) -> None:
    define_widgets(cluster)
    with make_beacon(resources=KINDS) as beacon:
        beacon.wait_ready()
        for path, name in ((CONFIGMAPS, "c"), (WIDGETS, "w")):
            create(cluster, path, name)
            annotate(cluster, path, name, "1")
            annotate(cluster, path, name, "2")
            annotate(cluster, path, name, None)
            annotate(cluster, path, name, "3")
            cluster.request("DELETE", f"{path}/{name}")

        stats = sink.wait_for(lambda stats: stats.distinct == 10, timeout=20)

    expected = [("created", "1"), ("updated", "2"), ("deleted", "2"), ("created", "3"), ("deleted", "3")]
    for name in ("c", "w"):
        assert [(change, value) for about, change, value in delivered(sink) if about == name] == expected
    assert (stats.duplicates, stats.order_violations, stats.chain_gaps, stats.refused) == (0, 0, 0, 0)
    assert stats.violations == []


def test_a_restart_after_all_deliveries_sends_nothing(
    cluster: remote.Remote, sink: endpoint.SinkServer, make_beacon: MakeBeacon
) -> None:
    beacon = make_beacon()
    with beacon:
        beacon.wait_ready()
        for number in range(20):
            create(cluster, CONFIGMAPS, f"c{number}", "1")
        sink.wait_for(lambda stats: stats.distinct == 20)
        assert beacon.stop() == 0

    with beacon:
        beacon.wait_ready()
        create(cluster, CONFIGMAPS, "after", "1")
        sink.wait_for(lambda stats: stats.distinct == 21)
        pending = "beacon_deliveries_pending"
        testkit.until(lambda: testkit.sample(beacon.metrics(), pending) == 0, "the last settlement", timeout=10)

    assert delivered(sink)[-1] == ("after", "created", "1")
    assert sink.stats().requests == 21


def test_changes_during_a_downtime_are_delivered(
    cluster: remote.Remote, sink: endpoint.SinkServer, make_beacon: MakeBeacon
) -> None:
    beacon = make_beacon()
    with beacon:
        beacon.wait_ready()
        create(cluster, CONFIGMAPS, "before", "1")
        sink.wait_for(lambda stats: stats.distinct == 1)
        assert beacon.stop() == 0
    create(cluster, CONFIGMAPS, "meanwhile", "1")
    cluster.request("DELETE", f"{CONFIGMAPS}/meanwhile")

    with beacon:
        sink.wait_for(lambda stats: stats.distinct == 3, timeout=30)

    assert delivered(sink)[1:] == [("meanwhile", "created", "1"), ("meanwhile", "deleted", "1")]


def test_sigterm_stops_everything_in_time_without_warnings(make_beacon: MakeBeacon) -> None:
    with make_beacon() as beacon:
        beacon.wait_ready()
        assert set(beacon.pids()) == PROCESSES
        testkit.until(lambda: beacon.living() == set(beacon.pids().values()), "the processes of each start", timeout=20)

        code = beacon.stop()  # kills after the grace period, and then the code is another

        assert (code, beacon.living()) == (0, set())
        assert sorted(line["process"] for line in beacon.logged("ended", code=0)) == sorted(PROCESSES - {"supervisord"})
        assert beacon.plain_lines == []


def test_kill_9_of_supervisord_leaves_no_process_and_loses_no_event(
    cluster: remote.Remote, sink: endpoint.SinkServer, make_beacon: MakeBeacon
) -> None:
    beacon = make_beacon()
    with beacon:
        beacon.wait_ready()
        for number in range(10):
            create(cluster, CONFIGMAPS, f"c{number}", "1")

        beacon.kill("supervisord")

        assert beacon.end(timeout=60) == -signal.SIGKILL
        assert beacon.living() == set()
    with beacon:
        stats = sink.wait_for(lambda stats: stats.distinct == 10, timeout=30)
        assert (stats.order_violations, stats.chain_gaps) == (0, 0)


def test_a_refused_configuration_is_reported(make_beacon: MakeBeacon) -> None:
    with make_beacon(endpoint={"url": "ftp://nowhere"}) as beacon, pytest.raises(errors.ConfigError) as refused:
        beacon.wait_ready()

    assert any("endpoint.url" in problem for problem in refused.value.problems)


def test_the_reasons_for_not_being_ready_are_reported(place: Path) -> None:
    kubeconfig = place / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{testkit.free_port()}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    whole_file = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "current-context": "x",
    }
    kubeconfig.write_text(json.dumps(whole_file))
    config = {"resources": KINDS[:1], "endpoint": {"url": "http://127.0.0.1:9"}}
    with testkit.Beacon(place, config=config, kubeconfig=kubeconfig) as beacon:
        with pytest.raises(TimeoutError):
            beacon.wait_ready(0)

        testkit.until(lambda: any("ConfigMap" in reason for reason in beacon.reasons()), "a reason", timeout=20)

        assert not beacon.ready()["ready"]


def test_a_program_ends_with_its_parent(place: Path) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    starter = (
        "import sys, time; from beacon.dev import child;"
        f"started = child.start([sys.executable, '-c', {program!r}]);"
        "print(started.stdout.readline().decode(), flush=True); time.sleep(600)"
    )
    process = child.start([sys.executable, "-c", starter])
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert processes.alive(pid)

    process.kill()
    process.wait()

    testkit.until(lambda: not processes.alive(pid), "its end", timeout=10)
    process.stdout.close()


def test_samples_are_summed_over_the_unspecified_labels() -> None:
    text = '# HELP a b\na{x="1",y="2"} 3\na{x="1",y="3"} 4.0\na{x="2",y="2"} 5\nab{x="1"} 9\nc 7\n'

    assert testkit.sample(text, "a", x="1") == 7
    assert testkit.sample(text, "c") == 7
    assert testkit.sample(text, "d") == 0
