"""The roles printed by `beacon rbac` are sufficient, and each right in them is necessary."""

import contextlib
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import server
from tests.system import load

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
RESOURCES = [
    {"apiVersion": "v1", "kind": "ConfigMap"},
    {"apiVersion": "example.com/v1", "kind": "Widget"},
    {"apiVersion": "v1", "kind": "Secret", "namespaces": ["shop"]},
    {"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["shop", "billing"]},
]
SCOPES = ["ConfigMap", "Deployment.apps@billing", "Deployment.apps@shop", "Secret@shop", "Widget.example.com"]
WHERE = {
    "ConfigMap": '"configmaps" in API group "" in all namespaces',
    "Widget.example.com": '"widgets" in API group "example.com" in all namespaces',
    "Secret@shop": '"secrets" in API group "" in namespace \'shop\'',
    "Deployment.apps@shop": '"deployments" in API group "apps" in namespace \'shop\'',
    "Deployment.apps@billing": '"deployments" in API group "apps" in namespace \'billing\'',
}
IDENTITY = ("get", "/api/v1/namespaces/kube-system")


class World:
    """A cluster in which Beacon has some or all of the printed rights."""

    def __init__(self, directory: Path, cluster: server.ApiServer, sink: endpoint.SinkServer) -> None:
        self.directory, self.cluster, self.sink = directory, cluster, sink
        for name in ("shop", "billing"):
            cluster.namespace(name)
        cluster.define("widgets", "example.com", "Widget")
        token = cluster.faults.issue("system:serviceaccount:beacon:beacon")
        self.kubeconfig = cluster.kubeconfig(directory / "kubeconfig", token=token)
        self.config = {
            "resources": RESOURCES,
            "annotation": {"key": load.ANNOTATION},
            "endpoint": {"url": sink.url},
            "reconciliation": {"enabled": False},
        }

    def printed(self, *options: str) -> list[Json]:
        """Return the roles, printed as the account itself, which has no rights yet except discovery."""
        path = self.directory / "asked.yaml"
        path.write_text(json.dumps(self.config))
        done = subprocess.run(
            [sys.executable, "-m", "beacon.cli", "rbac", "--config", str(path), "-o", "json", *options],
            env={"KUBECONFIG": str(self.kubeconfig), "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["items"])

    def give(self, manifests: list[Json]) -> None:
        for one in manifests:
            kind = one["kind"].lower() + "s"
            self.cluster.put(f"{kind}.{RBAC}", one, namespace=one["metadata"].get("namespace", ""))

    @contextlib.contextmanager
    def beacon(self) -> Iterator[testkit.Beacon]:
        with testkit.Beacon(self.directory, config=self.config, kubeconfig=self.kubeconfig) as made:
            yield made


@contextlib.contextmanager
def world() -> Iterator[World]:
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        server.running(bookmark_interval_s=1.0) as cluster,
        endpoint.running() as sink,
    ):
        yield World(Path(name), cluster, sink)


def annotated() -> Json:
    return {"metadata": {"name": "o", "annotations": {load.ANNOTATION: "true"}}}


def without(manifests: list[Json], missing: Callable[[str, str, str], str]) -> list[Json]:
    """Return the roles without the verb that `missing` returns for each (place, group, resource)."""
    left = copy.deepcopy(manifests)
    for role in left:
        place = role["metadata"].get("namespace", "")
        role["rules"] = [
            {**rule, "resources": [resource], "verbs": [verb]}
            for rule in role.get("rules", [])
            for resource in rule["resources"]
            for verb in rule["verbs"]
            if verb != missing(place, rule["apiGroups"][0], resource)
        ]
    return left


def asked(cluster: server.ApiServer) -> set[tuple[str, str]]:
    """Return verb and path of Beacon's requests."""
    return {(one.verb, one.path) for one in cluster.requests() if one.user.endswith("beacon:beacon")}


def refused(beacon: testkit.Beacon) -> dict[str, str]:
    """Return the scopes that are not ready, with the reasons."""
    scopes = beacon.ready()["checks"].get("watcher", {}).get("scopes", {})
    return {name: inner["why"] for name, inner in scopes.items() if inner["state"] == "forbidden"}


def test_with_exactly_the_printed_roles_it_is_ready_identifies_the_cluster_and_delivers() -> None:
    with world() as made:
        made.give(made.printed())
        with made.beacon() as beacon:
            beacon.wait_ready()
            for resource, namespace in (("configmaps", "default"), ("widgets.example.com", "default")):
                made.cluster.create(resource, annotated(), namespace=namespace)
            for resource, namespace in (
                ("secrets", "shop"),
                ("deployments.apps", "shop"),
                ("deployments.apps", "billing"),
            ):
                made.cluster.create(resource, annotated(), namespace=namespace)
            made.sink.wait_for(lambda stats: stats.distinct == 5, timeout=20)
            testkit.until(lambda: IDENTITY in asked(made.cluster), "the identity to be read", timeout=20)
            denied = [one for one in made.cluster.requests() if one.status == 403 and "beacon" in one.user]

        assert denied == []


def test_without_the_right_to_the_identity_it_is_ready_and_delivers() -> None:
    with world() as made:
        made.give(made.printed("--no-identity"))
        with made.beacon() as beacon:
            beacon.wait_ready()
            made.cluster.create("secrets", annotated(), namespace="shop")
            made.sink.wait_for(lambda stats: stats.distinct == 1, timeout=20)
            testkit.until(lambda: IDENTITY in asked(made.cluster), "the identity to be read", timeout=20)
            denied = {(one.verb, one.path) for one in made.cluster.requests() if one.status == 403}

        assert denied == {IDENTITY}


def test_without_one_of_the_printed_rights_its_scope_is_not_ready_and_the_right_is_reported() -> None:
    for lists in (
        {"ConfigMap", "Secret@shop", "Deployment.apps@billing"},
        {"Widget.example.com", "Deployment.apps@shop"},
    ):
        names = {("", "", "configmaps"): "ConfigMap", ("", "example.com", "widgets"): "Widget.example.com"}
        names |= {("shop", "", "secrets"): "Secret@shop"}
        names |= {(place, "apps", "deployments"): f"Deployment.apps@{place}" for place in ("shop", "billing")}

        def missing(place: str, group: str, resource: str) -> str:
            return "list" if names.get((place, group, resource)) in lists else "watch"  # noqa: B023  called at once

        with world() as made:
            made.give(without(made.printed(), missing))
            with made.beacon() as beacon:
                seen: dict[str, str] = {}
                # A scope is not refused for the moment in which its stream tries again.
                testkit.until(lambda: seen.update(refused(beacon)) or sorted(seen) == SCOPES, "refusals", timeout=30)  # noqa: B023

                assert not beacon.ready()["ready"]
                for scope, why in seen.items():
                    verb = "list" if scope in lists else "watch"
                    assert f'the user of the kubeconfig may not "{verb}" {WHERE[scope]}' in why
