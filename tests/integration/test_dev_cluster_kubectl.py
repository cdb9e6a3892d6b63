"""kubectl works against the embedded API server as against any cluster."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.dev.api_server import server

pytestmark = pytest.mark.needs("kubectl")
KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {bakerapps.net.maas: "true"}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {k: v}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[server.ApiServer]:
    with server.running() as running:
        yield running


class Kubectl:
    """kubectl with its own kubeconfig and cache."""

    def __init__(self, cluster: server.ApiServer, directory: Path) -> None:
        config = cluster.kubeconfig(directory / "kubeconfig")
        self.command = [KUBECTL, "--kubeconfig", str(config), "--cache-dir", str(directory / "cache")]

    def __call__(self, *words: str, text: str = "") -> str:
        done = subprocess.run(
            [*self.command, *words], input=text, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def kubectl(cluster: server.ApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(cluster, tmp_path)


def test_a_created_object_can_be_read_changed_and_deleted(cluster: server.ApiServer, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "made", "--from-literal=k=v")
    kubectl("annotate", "configmap", "made", "bakerapps.net.maas=true")
    kubectl("annotate", "configmap", "made", "bakerapps.net.maas=other", "--overwrite")
    kubectl("label", "configmap", "made", "app=x")
    read = json.loads(kubectl("get", "configmap", "made", "-o", "json"))
    kubectl("annotate", "configmap", "made", "bakerapps.net.maas-")
    without = cluster.get("configmaps", "made")
    kubectl("delete", "configmap", "made")

    assert (read["data"], read["metadata"]["labels"]) == ({"k": "v"}, {"app": "x"})
    assert read["metadata"]["annotations"] == {"bakerapps.net.maas": "other"}
    assert without is not None
    assert "annotations" not in without["metadata"]
    assert cluster.get("configmaps", "made") is None


def test_a_manifest_is_applied_twice_and_changed_once(kubectl: Kubectl) -> None:
    first = kubectl("apply", "-f", "-", text=MANIFEST)
    second = kubectl("apply", "-f", "-", text=MANIFEST.replace("web:1", "web:2"))
    kubectl("delete", "-f", "-", text=MANIFEST)

    assert first == "deployment.apps/web created\nconfigmap/settings created\n"
    assert second == "deployment.apps/web configured\nconfigmap/settings unchanged\n"


def test_what_a_manifest_omits_is_removed_when_it_is_applied_server_side_unless_another_manager_has_it(
    cluster: server.ApiServer, kubectl: Kubectl
) -> None:
    first = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: omitting, labels: {gone: "1"}, annotations: {kept: "1", gone: "1"}, finalizers: [example.com/a]}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {gone: "1"}}
    spec:
      tolerations: [{key: one, operator: Exists}, {key: two, operator: Exists}]
      containers:
        - {name: web, image: "web:1", env: [{name: A, value: "1"}, {name: B, value: "1"}]}
        - {name: side, image: "side:1"}
"""
    second = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: omitting, annotations: {kept: "1"}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: two, operator: Exists}]
      containers: [{name: web, image: "web:1", env: [{name: B, value: "1"}]}]
"""
    kubectl("apply", "--server-side", "-f", "-", text=first)
    kubectl("label", "deployment", "omitting", "other=1")
    kubectl("apply", "--server-side", "-f", "-", text=second)

    read = cluster.get("deployments.apps", "omitting")
    kubectl("delete", "-f", "-", text=second)

    assert read is not None
    template = read["spec"]["template"]
    assert read["metadata"]["labels"] == {"other": "1"}
    assert read["metadata"]["annotations"] == {"kept": "1"}
    assert not read["metadata"].get("finalizers")
    assert not template["metadata"].get("annotations")
    assert template["spec"]["tolerations"] == [{"key": "two", "operator": "Exists"}]
    (container,) = template["spec"]["containers"]
    assert container["env"] == [{"name": "B", "value": "1"}]


def test_a_manifest_is_applied_server_side(cluster: server.ApiServer, kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", text=MANIFEST)
    kubectl("apply", "--server-side", "-f", "-", text=MANIFEST.replace("web:1", "web:2"))
    read = cluster.get("deployments.apps", "web")
    kubectl("delete", "-f", "-", text=MANIFEST)

    assert read is not None
    assert read["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


def test_namespaces_are_created_and_deleted_with_their_content(cluster: server.ApiServer, kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "short")
    kubectl("create", "-f", "-", "-n", "short", text=MANIFEST)

    kubectl("delete", "namespace", "short")

    assert [obj for obj in cluster.list("deployments.apps") if obj["metadata"]["namespace"] == "short"] == []


def test_a_watch_shows_changes_as_they_come(cluster: server.ApiServer, kubectl: Kubectl) -> None:
    command = [*kubectl.command, "get", "secrets", "--watch", "-o", "name"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        cluster.create("secrets", {"metadata": {"name": "one"}})
        assert watching.stdout is not None
        first = watching.stdout.readline()
        cluster.create("secrets", {"metadata": {"name": "two"}})
        second = watching.stdout.readline()
        watching.terminate()

    assert (first, second) == ("secret/one\n", "secret/two\n")


def test_custom_resources_work_like_any_other(cluster: server.ApiServer, kubectl: Kubectl) -> None:
    cluster.define("widgets", "example.com", "Widget")
    widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 1}\n"

    kubectl("apply", "-f", "-", text=widget)
    kubectl("annotate", "widget", "w", "a=b")
    names = kubectl("get", "widgets", "-o", "name")
    kubectl("delete", "widget", "w")

    assert names == "widget.example.com/w\n"


def test_rights_are_checked_and_granted_from_the_command_line(cluster: server.ApiServer, kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "bot")
    kubectl("create", "clusterrole", "reader", "--verb=list,watch", "--resource=configmaps")
    kubectl("create", "clusterrolebinding", "bot", "--clusterrole=reader", "--serviceaccount=default:bot")
    token = kubectl("create", "token", "bot").strip()
    Path(kubectl.command[2]).unlink()
    cluster.kubeconfig(kubectl.command[2], token=token)

    assert kubectl("auth", "can-i", "list", "configmaps") == "yes\n"
    assert kubectl("get", "configmaps", "-o", "name") == ""
    with pytest.raises(AssertionError, match='cannot list resource "secrets"'):
        kubectl("get", "secrets")
