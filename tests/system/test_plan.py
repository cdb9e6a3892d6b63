"""`beacon plan`: its prediction beside a running Beacon is correct, and it changes nothing."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.cli import rights
from beacon.codec import documents
from beacon.dev import endpoint, testkit
from beacon.dev.api_server import server
from tests.system import load, running

Json = dict[str, Any]
CONFIGMAPS = {"apiVersion": "v1", "kind": "ConfigMap"}
READS = {("list", "configmaps"), ("list", "secrets"), ("get", "namespaces"), ("create", "selfsubjectaccessreviews")}


def config(*resources: Json, **changes: Any) -> str:
    document = {"resources": list(resources), "annotation": {"key": load.ANNOTATION}, "endpoint": {"url": "http://s/"}}
    return json.dumps(document | changes)


def plan(text: str, *options: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beacon.cli", "plan", "--config", "-", *options]
    environ = environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, env=environ, input=text, capture_output=True, text=True, check=False, timeout=300)


def asked(text: str, *, environ: dict[str, str]) -> Json:
    done = plan(text, "-o", "json", environ=environ)
    assert "Traceback" not in done.stderr, done.stderr
    found: Json = json.loads(done.stdout)
    assert done.returncode == (errors.EXIT_OK if found["works"] else errors.EXIT_FAILURE)
    return found


def put(
    cluster: server.ApiServer, resource: str, name: str, value: str | None = None, namespace: str = "default"
) -> None:
    cluster.namespace(namespace)
    annotations = {} if value is None else {load.ANNOTATION: value}
    cluster.put(resource, {"metadata": {"name": name, "annotations": annotations}}, namespace=namespace)


def test_the_prediction_beside_a_running_beacon_is_correct() -> None:
    with running.everything() as whole:
        for name, value in (("kept", "a"), ("other", "b"), ("plain", None)):
            put(whole.cluster, "configmaps", name, value)
        put(whole.cluster, "configmaps", "elsewhere", "a", namespace="shop")
        put(whole.cluster, "secrets", "new", "a")
        whole.sink.wait_for(lambda stats: stats.distinct == 3, timeout=20)
        text = config(
            {**CONFIGMAPS, "namespaces": ["default"]},
            {"apiVersion": "v1", "kind": "Secret"},
            annotation={"key": load.ANNOTATION, "values": ["a"]},
        )
        before = whole.cluster.version

        found = asked(text, environ=whole.beacon.environ)

        assert whole.cluster.version == before
        assert found["comparison"] == {"made": True, "why": ""}
        assert [
            [
                one[key]
                for key in ("resource", "namespace", "objects", "annotated", "matching", "kept", "new", "unmanaged")
            ]
            for one in found["scopes"]
        ] == [["configmaps", "default", 3, 2, 1, 1, 0, 1], ["secrets", "", 1, 1, 1, 0, 1, 0]]
        assert found["leaving"] == [
            {"scope": "configmaps@shop", "group": "", "kind": "ConfigMap", "namespace": "shop", "unmanaged": 1}
        ]
        shown = plan(text, environ=whole.beacon.environ).stdout
        assert shown.startswith("This configuration would work.\n")
        assert "configmaps@shop: 1 become unmanaged" in shown

        whole.beacon.stop()
        current = json.loads(whole.beacon.config_path.read_text())
        changed = json.loads(text)
        whole.beacon.config_path.write_text(
            json.dumps(current | {"resources": changed["resources"], "annotation": changed["annotation"]})
        )
        whole.beacon.start().wait_ready()
        whole.sink.wait_for(lambda stats: stats.distinct == 4, timeout=20)
        wanted = {"objects/tracked": 2, "objects/unmanaged": 2}
        testkit.until(lambda: wanted.items() <= rows(whole.beacon).items(), f"{wanted}", timeout=20)


def test_the_prediction_for_each_endpoint_is_what_it_gets() -> None:
    with running.everything() as whole, endpoint.running() as late:
        for name, value in (("kept", "a"), ("team-1", "a"), ("team-2", "b")):
            put(whole.cluster, "configmaps", name, value)
        whole.sink.wait_for(lambda stats: stats.distinct == 3, timeout=20)
        current = json.loads(whole.beacon.config_path.read_text())
        only = current.pop("endpoint")
        endpoints = [
            {"name": "default", **only, "exclude": {"names": ["team-2"]}},
            {"name": "late", "url": late.url, "select": {"names": ["team-*"]}},
        ]
        changed = json.dumps(
            current | {"endpoints": endpoints, "resources": [CONFIGMAPS, {**CONFIGMAPS, "kind": "Secret"}]}
        )
        put(whole.cluster, "secrets", "team-3", "a")

        found = asked(changed, environ=whole.beacon.environ)
        shown = plan(changed, environ=whole.beacon.environ).stdout

        none = {"created": 0, "updated": 0, "deleted": 0}
        assert found["endpoints"] == [
            {"endpoint": "default", "change": "changed", "objects": 3, **none, "created": 1, "catchUp": none},
            {
                "endpoint": "late",
                "change": "new",
                "objects": 3,
                **none,
                "created": 3,
                "catchUp": {**none, "created": 2},
            },
        ]
        assert "  late is new: a catch-up sends 2 created to it alone\n" in shown
        whole.beacon.stop()
        whole.beacon.config_path.write_text(changed)
        whole.beacon.start().wait_ready()
        late.wait_for(lambda stats: stats.distinct == 3, timeout=30)
        whole.sink.wait_for(lambda stats: stats.distinct == 4, timeout=30)


def rows(beacon: testkit.Beacon) -> dict[str, int]:
    command = [sys.executable, "-m", "beacon.cli", "status", "-o", "json"]
    done = subprocess.run(command, env=beacon.environ, capture_output=True, text=True, check=False, timeout=300)
    return dict(json.loads(done.stdout)["storage"]["rows"])


class Alone:
    """A cluster without a Beacon, accessed by a service account."""

    def __init__(self, cluster: server.ApiServer, directory: Path) -> None:
        self.cluster = cluster
        token = cluster.faults.issue("system:serviceaccount:beacon:beacon")
        self.environ = {"KUBECONFIG": str(cluster.kubeconfig(directory / "kubeconfig", token=token))}

    def give(self, *needed: rights.Right) -> None:
        holder = rights.Holder(name="beacon", namespace="beacon", account="beacon")
        for one in rights.manifests(needed, holder):
            if namespace := one["metadata"].get("namespace", ""):
                self.cluster.namespace(namespace)
            self.cluster.put(f"{one['kind'].lower()}s.rbac.authorization.k8s.io", one, namespace=namespace)


@pytest.fixture
def alone() -> Iterator[Alone]:
    with tempfile.TemporaryDirectory(prefix="b") as name, server.running() as cluster:
        yield Alone(cluster, Path(name))


def test_it_reads_only_metadata_in_pages(alone: Alone) -> None:
    for number in range(620):
        put(alone.cluster, "configmaps", f"o{number}", "a" if number % 2 else None)
    alone.give(*rights.of(rights.Watched(group="", plural="configmaps", namespace="")), rights.IDENTITY)

    found = asked(config(CONFIGMAPS), environ=alone.environ)

    assert [found["scopes"][0][key] for key in ("objects", "annotated", "matching", "new")] == [620, 310, 310, None]
    assert found["comparison"]["made"] is False
    assert "BEACON_RUN_DIR" in found["comparison"]["why"]
    requests = [one for one in alone.cluster.requests() if one.user.endswith("beacon:beacon")]
    assert {(one.verb, one.resource) for one in requests if one.resource} <= READS
    assert len([one for one in requests if one.verb == "list"]) == 2


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_missing_right_is_reported_with_its_exit_code(alone: Alone, verb: str) -> None:
    watched = rights.Watched(group="", plural="configmaps", namespace="shop")
    alone.give(*(right for right in rights.of(watched) if right.verb != verb), rights.IDENTITY)
    text = config({**CONFIGMAPS, "namespaces": ["shop"]})

    found = asked(text, environ=alone.environ)

    assert found["works"] is False
    assert found["missingRights"] == [
        {"verb": verb, "group": "", "resource": "configmaps", "namespace": "shop", "name": "", "needed": True}
    ]
    assert found["wrong"] == [
        f'configmaps@shop: the right to "{verb}" "configmaps" in API group "" in namespace "shop" is missing'
    ]
    assert (found["scopes"][0]["objects"] is None) is (verb == "list")
    assert documents.load(plan(text, "-o", "yaml", environ=alone.environ).stdout) == found
    assert plan(text, environ=alone.environ).returncode == errors.EXIT_FAILURE


def test_an_unreadable_cluster_identity_is_reported_and_not_an_error(alone: Alone) -> None:
    alone.give(*rights.of(rights.Watched(group="", plural="configmaps", namespace="")))

    found = asked(config(CONFIGMAPS), environ=alone.environ)

    assert found["works"] is True
    assert [(one["resource"], one["needed"]) for one in found["missingRights"]] == [("namespaces", False)]
    assert "kube-system cannot be read" in plan(config(CONFIGMAPS), environ=alone.environ).stdout


@pytest.mark.parametrize(
    ("resource", "problem"),
    [
        ({"apiVersion": "example.com/v1", "kind": "Widget"}, "does not serve Widget"),
        ({"apiVersion": "v1", "kind": "Node", "namespaces": ["a"]}, "is cluster-wide"),
    ],
)
def test_an_unwatchable_kind_is_reported(alone: Alone, resource: Json, problem: str) -> None:
    found = asked(config(resource), environ=alone.environ)

    assert problem in found["wrong"][0]
    assert problem in found["scopes"][0]["problem"]


def test_an_unreachable_cluster_is_one_sentence_and_a_separate_exit_code() -> None:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        with server.running() as cluster:
            gone = {"KUBECONFIG": str(cluster.kubeconfig(Path(name) / "kubeconfig"))}

        for environ, options, code in (
            (gone, (), errors.EXIT_UNAVAILABLE),
            ({}, (), errors.EXIT_CONFIG),
            (gone, ("-o", "xml"), 2),
        ):
            done = plan(config(CONFIGMAPS), *options, environ=environ)
            assert (done.returncode, done.stdout) == (code, ""), done.stderr
            assert "Traceback" not in done.stderr
