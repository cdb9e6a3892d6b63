"""The output of kustomize and of Helm runs in podman's `kube play`, without a cluster."""

import base64
import json
import time
from pathlib import Path

import pytest
import yaml

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import remote
from tests.image import containers
from tests.image import engine as engines
from tests.manifests import built, chart

pytestmark = pytest.mark.timeout(1200)

_TOKEN = "s3cret"  # the base's placeholder is never sent
# The patch replaces the credentials that the kubelet provides, the probes, for which podman needs a program that the
# image lacks, and the ports, which podman does not publish for a pod in the host network.
_PATCH = """
- {op: add, path: /spec/template/spec/hostNetwork, value: true}
- {op: remove, path: /spec/template/spec/containers/0/ports}
- {op: remove, path: /spec/template/spec/containers/0/startupProbe}
- {op: remove, path: /spec/template/spec/containers/0/livenessProbe}
- {op: remove, path: /spec/template/spec/containers/0/readinessProbe}
- {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: KUBECONFIG, value: /config/kubeconfig}}
"""


def test_podman_plays_the_base(
    engine: engines.Engine,
    beacon: containers.Beacon,
    place: Path,
    cluster: remote.Remote,
    sink: endpoint.SinkServer,
) -> None:
    kustomization = {
        "resources": [built.relative(place, built.K8S / built.BASE)],
        "images": [{"name": "beacon", "newName": containers.IMAGE.rpartition(":")[0]}],
        "configMapGenerator": [
            {
                "name": "beacon",
                "namespace": "beacon",
                "behavior": "replace",
                "files": ["config/config.yaml", "config/kubeconfig"],
            }
        ],
        "secretGenerator": [
            {
                "name": "beacon-endpoint",
                "namespace": "beacon",
                "behavior": "merge",
                "literals": [f"token={_TOKEN}"],
                "options": {"disableNameSuffixHash": True},
            }
        ],
        "patches": [{"target": {"kind": "Deployment"}, "patch": _PATCH}],
    }
    (place / "kustomization.yaml").write_text(json.dumps(kustomization))
    (place / "pod.yaml").write_text(built.text(place))

    engine.podman("kube", "play", str(place / "pod.yaml"))

    (found,) = engine.podman("ps", "-q", "--filter", "label=app.kubernetes.io/name=beacon").split()
    container = containers.Container(engine, found)
    beacon.wait_ready(container)
    beacon.annotate("played")
    sink.wait_for(lambda stats: stats.accepted == 1)
    (attempt,) = sink.attempts()
    context = built.pod(built.BASE)["securityContext"]
    readings = (_TOKEN, base64.b64encode(_TOKEN.encode()).decode())  # podman before 4.4 mounts the encoded value
    assert attempt.request.header("authorization") in [f"Bearer {reading}" for reading in readings]
    assert container.inspect(".Config.User") == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert container.inspect(".HostConfig.ReadonlyRootfs") == "true"
    assert container.inspect(".HostConfig.Memory") == str(built.mebibytes(containers.LIMIT) * 1024 * 1024)
    code, _ = container.stop()
    assert code == 0


@pytest.mark.needs("helm")
def test_a_release_of_the_chart_delivers_its_first_event_within_a_minute(
    engine: engines.Engine,
    beacon: containers.Beacon,
    place: Path,
    cluster: remote.Remote,
    sink: endpoint.SinkServer,
) -> None:
    repository, _, tag = containers.IMAGE.rpartition(":")
    values = {
        "config": beacon.config(sink.url),
        "image": {"repository": repository, "tag": tag},
        "token": _TOKEN,
    }
    to = ("beacon", "--kubeconfig", str(cluster.kubeconfig), "--namespace", "beacon")
    beacon.annotate("first")
    began = time.monotonic()

    installed = chart.helm("install", *to, "--create-namespace", str(chart.PATH), values=values)
    assert installed.returncode == 0, installed.stderr
    rendered = list(yaml.safe_load_all(chart.helm("get", "manifest", *to).stdout))
    (place / "pod.yaml").write_text(yaml.safe_dump_all(played(each, place) for each in rendered))
    engine.podman("kube", "play", str(place / "pod.yaml"))
    sink.wait_for(lambda stats: stats.accepted == 1, timeout=120)

    took_s = time.monotonic() - began
    print(f"from `helm install` to the first delivered event: {took_s:.1f} s")
    assert took_s <= 60
    (found,) = engine.podman("ps", "-q", "--filter", "label=app.kubernetes.io/instance=beacon").split()
    code, _ = containers.Container(engine, found).stop()
    assert code == 0
    removed = chart.helm("uninstall", *to)
    assert removed.returncode == 0, removed.stderr


def played(each: containers.Json, place: Path) -> containers.Json:
    """Return an object of the chart with the changes of _PATCH, and with the kubeconfig in the ConfigMap."""
    if each["kind"] == "ConfigMap":
        each["data"]["kubeconfig"] = (place / "config" / "kubeconfig").read_text()
    if each["kind"] == "Deployment":
        spec = each["spec"]["template"]["spec"]
        spec["hostNetwork"] = True
        (container,) = spec["containers"]
        for key in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
            del container[key]
        container["env"].append({"name": "KUBECONFIG", "value": "/config/kubeconfig"})
    return each


def test_the_test_endpoint_shows_the_events_it_receives(
    engine: engines.Engine, place: Path, cluster: remote.Remote, beacon_at: containers.MakeBeacon
) -> None:
    engine.build(containers.TEST_ENDPOINT, target="test-endpoint")
    port = testkit.free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--log", "json")
    receiver = containers.Container(
        engine, engine.podman("run", "--detach", *containers.LOCKED, containers.TEST_ENDPOINT, *options).strip()
    )
    beacon = beacon_at(f"http://127.0.0.1:{port}/events")

    beacon.start()
    beacon.annotate("shown")

    testkit.until(lambda: "shown" in engine.logs(receiver.id), "the event to be shown", timeout=30)
    code, _ = receiver.stop()
    assert code == 0
