"""Helm installs, upgrades, rolls back and uninstalls the chart on the embedded API server and on a real one.

The real one is the cluster of BEACON_TEST_KUBECONFIG; the tests use a temporary namespace and create no ClusterRole.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.dev.api_server import server
from tests.manifests import chart

pytestmark = pytest.mark.needs("helm", "kubectl")
REAL = "BEACON_TEST_KUBECONFIG"
KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"


class Release:
    """A release of the chart in a namespace of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = str(kubeconfig)
        self.namespace = f"beacon-{uuid.uuid4().hex[:8]}"
        self.name = self.namespace

    def helm(self, *words: str, values: dict[str, Any] | None = None) -> str:
        done = chart.helm(*words, "--kubeconfig", self._kubeconfig, "--namespace", self.namespace, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def values(self, **config: Any) -> dict[str, Any]:
        resources = [{"apiVersion": "v1", "kind": "ConfigMap", "namespaces": [self.namespace]}]
        endpoint = {"url": "https://receiver.example.com/events"}
        return {
            "config": {"resources": resources, "endpoint": endpoint, **config},
            "token": "secret",
            "rbac": {"identity": False},
        }

    def get(self, kind: str) -> list[dict[str, Any]]:
        """Return the release's objects of a kind."""
        chosen = f"app.kubernetes.io/instance={self.name}"
        found = json.loads(self.kubectl("get", kind, "--selector", chosen, "--output", "json"))
        items: list[dict[str, Any]] = found["items"]
        return items

    def kubectl(self, *words: str) -> str:
        command = [KUBECTL, "--kubeconfig", self._kubeconfig, "--namespace", self.namespace, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout

    def level(self) -> str:
        """Return the log level in the configuration of the cluster."""
        (found,) = self.get("configmaps")
        text: str = found["data"]["config.yaml"]
        return text.partition("logLevel: ")[2].partition("\n")[0]

    def digest(self) -> str:
        """Return the annotation whose change replaces the pod."""
        digest: str = self.template()["metadata"]["annotations"]["checksum/config"]
        return digest

    def template(self) -> dict[str, Any]:
        """Return the pod's template."""
        (found,) = self.get("deployments.apps")
        template: dict[str, Any] = found["spec"]["template"]
        return template


@pytest.fixture(params=["embedded", "real"])
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Release]:
    if request.param == "real":
        if not os.environ.get(REAL):
            pytest.skip(f"{REAL} names no kubeconfig of a real cluster")
        made = Release(Path(os.environ[REAL]))
        yield made
        made.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")
        return
    with server.running() as cluster:
        yield Release(cluster.kubeconfig(tmp_path / "kubeconfig"))


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled_and_its_volume_is_kept(release: Release) -> None:
    path = str(chart.PATH)
    notes = release.helm("install", release.name, path, "--create-namespace", values=release.values())
    first, digest = release.level(), release.digest()
    (claim,) = release.get("persistentvolumeclaims")
    more = {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}], "podLabels": {"team": "a"}}
    release.helm("upgrade", release.name, path, values={**release.values(app={"logLevel": "debug"}), **more})
    second, changed, upgraded = release.level(), release.digest(), release.template()
    release.helm("rollback", release.name, "1")
    third, restored = (release.level(), release.digest()), release.template()
    revisions = json.loads(release.helm("history", release.name, "--output", "json"))
    kept = release.helm("uninstall", release.name)

    assert f"kubectl -n {release.namespace} rollout status" in notes
    assert (first, second, third) == ("", "debug", ("", digest))
    assert changed != digest
    names = [[each["name"] for each in given["spec"]["containers"][0]["env"]] for given in (upgraded, restored)]
    assert names == [["ENDPOINT_AUTH_TOKEN_FILE", "HTTPS_PROXY"], ["ENDPOINT_AUTH_TOKEN_FILE"]]
    assert ("team" in upgraded["metadata"]["labels"], "team" in restored["metadata"]["labels"]) == (True, False)
    assert [each["status"] for each in revisions] == ["superseded", "superseded", "deployed"]
    assert "[PersistentVolumeClaim]" in kept
    kinds = ("deployments.apps", "configmaps", "secrets", "services", "roles.rbac.authorization.k8s.io")
    assert {kind: release.get(kind) for kind in kinds} == {kind: [] for kind in kinds}
    (left,) = release.get("persistentvolumeclaims")
    assert left["metadata"]["uid"] == claim["metadata"]["uid"]

    release.helm("install", release.name, path, values=release.values())

    (again,) = release.get("persistentvolumeclaims")
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]
