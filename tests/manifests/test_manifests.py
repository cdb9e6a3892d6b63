"""The manifests are valid, consistent, and match Beacon, its image and its documentation."""

import base64
import configparser
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml

from beacon.boundary import secret
from beacon.configuration import loading, settings
from beacon.dev import testkit
from tests.manifests import built, operator_schemas
from tests.system import documents

CONTAINERFILE = (built.ROOT / "Containerfile").read_text()
VERSIONS = ("1.25", "1.29", "1.33", kubernetes_validate.latest_version())
EXAMPLE = "overlays/example"
DEPLOYMENT = built.ROOT / "docs" / "deployment.md"
FOREIGN = "monitoring.coreos.com"


def loaded(name: str) -> settings.Settings:
    """Load an overlay's configuration with the overlay's environment."""
    found = loading.parse(built.config(name), built.environ(name))
    assert found.warnings == ()
    return found.settings


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", built.every_kustomization())
def test_every_object_is_valid_for_kubernetes(name: str, version: str) -> None:
    for each in built.objects(name):
        if FOREIGN not in each["apiVersion"]:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_monitoring_overlay_is_valid_for_the_prometheus_operator() -> None:
    foreign = [each for each in built.objects("overlays/monitoring") if FOREIGN in each["apiVersion"]]

    for each in foreign:
        jsonschema.validate(each, operator_schemas.SCHEMAS[each["kind"]])
    assert {each["kind"] for each in foreign} == set(operator_schemas.SCHEMAS)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "30s"),
        ("ServiceMonitor", ("spec", "endpoints", 0, "interval"), "30 s"),
        ("ServiceMonitor", ("spec", "endpoints", 0, "honorLabels"), "true"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "labels"), {"severity": 1}),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "description"), "misplaced"),
        ("PrometheusRule", ("spec", "group"), []),
    ],
)
def test_a_field_that_the_prometheus_operator_does_not_accept_is_detected(
    kind: str, path: tuple[str | int, ...], value: object
) -> None:
    wrong = copy.deepcopy(built.one("overlays/monitoring", kind))
    *above, last = path
    place: Any = wrong
    for key in above:
        place = place[key]
    place[last] = value

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, operator_schemas.SCHEMAS[kind])


def test_the_overlay_with_backups_mounts_the_directory_of_its_configuration() -> None:
    backups, base = loaded("overlays/backups"), loaded(built.BASE)
    (container,) = built.pod("overlays/backups")["containers"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in built.pod("overlays/backups")["volumes"]}
    mount = mounts[backups.backup.path]

    assert backups.backup.interval_s > 0
    assert replace(backups, backup=base.backup) == base
    assert not mount.get("readOnly")
    claim = volumes[mount["name"]]["persistentVolumeClaim"]["claimName"]
    assert built.one("overlays/backups", "PersistentVolumeClaim", claim)


@pytest.mark.parametrize("name", [built.BASE, "overlays/openshift", "overlays/example"])
def test_a_node_that_does_not_answer_is_left_after_30_seconds(name: str) -> None:
    tolerated = {each["key"]: each["tolerationSeconds"] for each in built.pod(name)["tolerations"]}

    assert tolerated == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}


def test_an_invalid_object_is_detected() -> None:
    wrong = {**built.one(built.BASE, "Service"), "sepc": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", built.OURS)
def test_the_configuration_loads_without_a_warning(name: str) -> None:
    tree = loaded(name)

    assert tree.resources


@pytest.mark.parametrize("name", built.OURS)
def test_probes_and_scrapes_use_the_paths_that_the_exporter_serves(name: str) -> None:
    tree, container = loaded(name), built.container(name)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    (service_port,) = built.one(name, "Service")["spec"]["ports"]

    asked = {
        probe: (ports[container[probe]["httpGet"]["port"]], container[probe]["httpGet"]["path"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert asked == {
        "startupProbe": (tree.health.port, tree.health.liveness_path),
        "livenessProbe": (tree.health.port, tree.health.liveness_path),
        "readinessProbe": (tree.health.port, tree.health.readiness_path),
    }
    assert (service_port["name"], ports[service_port["targetPort"]]) == ("http", tree.metrics.port)


@pytest.mark.parametrize("name", built.OURS)
def test_a_beacon_that_is_not_ready_is_scraped_nevertheless(name: str) -> None:
    assert built.one(name, "Service")["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("name", built.OURS)
def test_there_is_one_replica_and_the_old_pod_ends_first(name: str) -> None:
    spec = built.one(name, "Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("name", built.OURS)
def test_the_grace_period_is_longer_than_all_processes_may_take_to_stop(name: str) -> None:
    conf = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    conf.read(testkit.CONF)
    waits = [
        conf.getint(section, "stopwaitsecs")
        for section in conf.sections()
        if ":" in section and "command" in conf[section]
    ]

    grace_s = built.pod(name)["terminationGracePeriodSeconds"]

    assert len(waits) == 6
    assert sum(waits) < grace_s
    assert grace_s == testkit.GRACE_S


@pytest.mark.parametrize("name", built.OURS)
def test_each_directory_that_beacon_uses_is_mounted(name: str) -> None:
    tree, mounts = loaded(name), built.mounts(name)
    run_dir = re.findall(r"BEACON_RUN_DIR=(\S+)", CONTAINERFILE)[0]
    token = Path(built.environ(name)["ENDPOINT_AUTH_TOKEN_FILE"])

    kinds = {path: next(iter(set(volume) - {"name"})) for path, volume in mounts.items()}

    assert kinds.pop("/config") == "configMap"
    assert kinds.pop(str(token.parent)) == "secret"
    assert kinds.pop(tree.storage.volume_path) == "persistentVolumeClaim"
    if tree.backup.path:
        assert kinds.pop(tree.backup.path) == "persistentVolumeClaim"
    assert kinds == {run_dir: "emptyDir", "/tmp": "emptyDir"}
    assert Path(tree.storage.db_path).parent == Path(tree.storage.volume_path)
    assert mounts["/config"]["configMap"]["name"] == built.one(name, "ConfigMap")["metadata"]["name"]
    claim = mounts[tree.storage.volume_path]["persistentVolumeClaim"]["claimName"]
    assert claim == built.one(name, "PersistentVolumeClaim")["metadata"]["name"]


@pytest.mark.parametrize("name", [name for name in built.OURS if name != EXAMPLE])
def test_the_token_is_mounted_where_it_is_read(name: str) -> None:
    token = Path(built.environ(name)["ENDPOINT_AUTH_TOKEN_FILE"])
    mounted = built.mounts(name)[str(token.parent)]["secret"]["secretName"]

    assert list(built.one(name, "Secret", mounted)["data"]) == [token.name]


@pytest.mark.parametrize(("name", "sent"), [(built.BASE, False), ("overlays/test-endpoint", True)])
def test_the_token_of_the_base_is_a_placeholder_that_is_never_sent(name: str, *, sent: bool) -> None:
    token = base64.b64decode(built.one(name, "Secret", "beacon-endpoint")["data"]["token"]).decode()

    assert (token != secret.PLACEHOLDER) is sent


def test_the_example_without_a_token_names_no_secret(tmp_path: Path) -> None:
    example = built.K8S / EXAMPLE / "beacon" / "kustomization.yaml"
    operations = re.findall(r"(?m)^  #   (- \{op: .*)$", example.read_text())
    patch = json.dumps("\n".join(operations))
    overlay(tmp_path, f"patches: [{{target: {{kind: Deployment}}, patch: {patch}}}]", EXAMPLE)

    (deployment,) = (each for each in yaml.safe_load_all(built.text(tmp_path)) if each["kind"] == "Deployment")

    spec = deployment["spec"]["template"]["spec"]
    assert "env" not in spec["containers"][0] or spec["containers"][0]["env"] == []
    assert [volume["name"] for volume in spec["volumes"]] == ["config", "data", "run", "tmp"]
    assert [mount["name"] for mount in spec["containers"][0]["volumeMounts"]] == ["config", "data", "run", "tmp"]


def test_the_example_overlay_contains_no_secret_and_no_image_of_ours() -> None:
    assert built.of_kind(EXAMPLE, "Secret") == []
    assert "/" in built.container(EXAMPLE)["image"]


@pytest.mark.parametrize("name", built.OURS)
def test_selectors_select(name: str) -> None:
    labels = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in built.of_kind(name, "Deployment")
    }
    selectors = [
        *(each["spec"]["selector"]["matchLabels"] for each in built.of_kind(name, "Deployment")),
        *(each["spec"]["selector"] for each in built.of_kind(name, "Service")),
        *(each["spec"]["podSelector"]["matchLabels"] for each in built.of_kind(name, "NetworkPolicy")),
    ]

    for selector in selectors:
        chosen = [called for called, given in labels.items() if selector.items() <= given.items()]
        assert len(chosen) == 1, (selector, chosen)


@pytest.mark.parametrize("name", built.OURS)
def test_the_network_policy_allows_the_needed_traffic_and_lists_the_ingress(name: str) -> None:
    url = urlsplit(loaded(name).endpoint.url)
    beacons = [
        each["spec"]
        for each in built.of_kind(name, "NetworkPolicy")
        if each["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "beacon"}
    ]

    outward = {
        (port["protocol"], port["port"]) for each in beacons for rule in each["egress"] for port in rule["ports"]
    }
    inward = {port["port"] for each in beacons for rule in each.get("ingress", []) for port in rule["ports"]}

    assert ("TCP", url.port or {"http": 80, "https": 443}[url.scheme]) in outward
    assert {("UDP", 53), ("TCP", 443), ("TCP", 6443)} <= outward
    assert inward == {"http"}


@pytest.mark.parametrize("name", built.OURS)
def test_the_pod_runs_as_the_service_account_of_the_bindings(name: str) -> None:
    account = built.one(name, "ServiceAccount")["metadata"]
    bound = {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    bindings = [each for each in roles(built.objects(name)) if "subjects" in each]

    assert built.pod(name)["serviceAccountName"] == account["name"]
    assert built.pod(name)["automountServiceAccountToken"] is True
    assert bindings
    assert all(each["subjects"] == [bound] for each in bindings)


@pytest.mark.parametrize("name", built.OURS)
def test_the_rights_are_those_that_beacon_rbac_prints_for_the_configuration(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(built.config(name))
    called = built.of_kind(name, "ClusterRole")[0]["metadata"]["name"]
    command = [sys.executable, "-m", "beacon.cli", "rbac", "--config", str(tmp_path / "config.yaml"), "--name", called]

    printed = subprocess.run(command, env={**os.environ, **built.environ(name)}, capture_output=True, check=True).stdout

    assert roles(built.objects(name)) == roles(yaml.safe_load_all(printed))


@pytest.mark.parametrize("name", built.OURS)
def test_the_memory_request_is_the_measured_one(name: str) -> None:
    performance = (built.ROOT / "docs" / "performance.md").read_text()
    measured = int(re.findall(r"in a container \(Python [\d.]+\) all processes have (\d+) MiB", performance)[0])
    memory = {kind: built.mebibytes(given["memory"]) for kind, given in built.container(name)["resources"].items()}

    run_dir = built.mebibytes(built.mounts(name)["/run/beacon"]["emptyDir"]["sizeLimit"])

    assert memory["requests"] > measured + run_dir
    assert memory["limits"] > 2 * (measured + run_dir)
    assert "cpu" not in built.container(name)["resources"]["limits"], "throttling makes events late"


def roles(objects: Iterable[built.Json]) -> list[built.Json]:
    """Return roles and bindings without the labels that kustomize adds."""
    found = [each for each in objects if each["apiVersion"].startswith("rbac.")]
    bare = [each | {"metadata": {k: v for k, v in each["metadata"].items() if k != "labels"}} for each in found]
    return sorted(bare, key=lambda each: (each["kind"], each["metadata"].get("namespace", "")))


def test_a_changed_configuration_restarts_the_pod(tmp_path: Path) -> None:
    overlay(
        tmp_path, "configMapGenerator: [{name: beacon, namespace: beacon, behavior: replace, files: [config.yaml]}]"
    )
    (tmp_path / "config.yaml").write_text(built.config(built.BASE) + "# changed\n")

    changed = next(each for each in yaml.safe_load_all(built.text(tmp_path)) if each["kind"] == "ConfigMap")

    assert changed["metadata"]["name"] != built.one(built.BASE, "ConfigMap")["metadata"]["name"]


@pytest.mark.parametrize("name", [name for name in built.OURS if name != EXAMPLE])
def test_another_namespace_is_applied_everywhere(name: str, tmp_path: Path) -> None:
    overlay(tmp_path, "namespace: elsewhere", name, "overlays/monitoring")

    objects = list(yaml.safe_load_all(built.text(tmp_path)))

    named = {each["metadata"].get("namespace", "") for each in objects}
    subjects = [each["subjects"] for each in objects if each["kind"] == "ClusterRoleBinding"]
    assert named == {"", "elsewhere"}
    assert [each["metadata"]["name"] for each in objects if each["kind"] == "Namespace"] == ["elsewhere"]
    assert [subject["namespace"] for (subject,) in subjects] == ["elsewhere"]


def test_a_copy_of_the_example_is_built_elsewhere_and_in_another_namespace_as_the_page_describes(
    tmp_path: Path,
) -> None:
    for name in ("k8s", "grafana"):
        shutil.copytree(built.ROOT / name, tmp_path / name)
    copying, check, rights = (command(word) for word in ("cp -r k8s grafana", "beacon check-config", "beacon rbac"))

    run(copying, tmp_path)
    run(check, tmp_path)
    example = tmp_path / "my-beacon" / "k8s" / "overlays" / "example"
    chosen = example / "beacon" / "kustomization.yaml"
    chosen.write_text(re.sub(r"(?m)^namespace: beacon\b", "namespace: elsewhere", chosen.read_text()))
    run(rights.replace("--namespace beacon", "--namespace elsewhere"), tmp_path)

    objects = list(yaml.safe_load_all(built.text(example)))
    original = built.objects(EXAMPLE)

    moved = {"beacon": "elsewhere"}
    expected = {(each["kind"], moved.get(namespace, namespace)) for each, namespace in places(original)}
    assert {(each["kind"], namespace) for each, namespace in places(objects)} == expected
    subjects = [subject for each in objects for subject in each.get("subjects", ())]
    assert {subject["namespace"] for subject in subjects} == {"elsewhere"}
    assert len(subjects) == 3
    assert {each["metadata"]["name"] for each in objects if each["kind"] == "Namespace"} == {"elsewhere"}


def command(part: str) -> str:
    """Return the block of the page on deployment that contains a command."""
    return next(block.text for block in documents.blocks(DEPLOYMENT) if part in block.text)


def run(block: str, directory: Path) -> None:
    """Run a block of a page."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", block], cwd=directory, env=environ, check=True, capture_output=True)


def places(objects: Iterable[built.Json]) -> list[tuple[built.Json, str]]:
    """Return each object with its namespace."""
    return [(each, each["metadata"].get("namespace", "")) for each in objects]


def test_openshift_chooses_the_user_and_the_group_of_the_volumes() -> None:
    context = built.pod("overlays/openshift")["securityContext"]

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)
    assert context["runAsNonRoot"] is True


def overlay(directory: Path, more: str, *names: str) -> None:
    """Write an overlay of the base, or of these directories."""
    lower = ", ".join(built.relative(directory, built.K8S / name) for name in names or (built.BASE,))
    (directory / "kustomization.yaml").write_text(f"resources: [{lower}]\n{more}\n")
