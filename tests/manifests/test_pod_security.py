"""All pods are admitted in a namespace with Pod Security "restricted"."""

import copy
from typing import Any

import pytest

from tests.manifests import built, restricted


def _well() -> dict[str, Any]:
    template: dict[str, Any] = copy.deepcopy(built.one(built.BASE, "Deployment")["spec"]["template"])
    return template


@pytest.mark.parametrize("name", built.every_kustomization())
def test_restricted_admits_every_pod(name: str) -> None:
    workloads = [each for each in built.objects(name) if "template" in each.get("spec", {})]

    for workload in workloads:
        assert restricted.violations(workload["spec"]["template"]) == [], workload["metadata"]["name"]


@pytest.mark.parametrize("name", built.OURS)
def test_the_namespace_enforces_restricted(name: str) -> None:
    labels = built.one(name, "Namespace")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", built.OURS)
def test_no_container_can_write_to_its_own_image(name: str) -> None:
    for workload in built.of_kind(name, "Deployment"):
        for one in workload["spec"]["template"]["spec"]["containers"]:
            assert one["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("where", "key", "value", "rule"),
    [
        ("pod", "hostNetwork", True, "host namespaces"),
        ("pod", "hostPID", True, "host namespaces"),
        ("pod", "volumes", [{"name": "v", "hostPath": {"path": "/"}}], "volumes"),
        ("pod context", "runAsUser", 0, "runAsUser"),
        ("pod context", "runAsNonRoot", None, "runAsNonRoot"),
        ("pod context", "seccompProfile", {"type": "Unconfined"}, "seccompProfile"),
        ("pod context", "sysctls", [{"name": "kernel.msgmax", "value": "1"}], "sysctls"),
        ("context", "privileged", True, "privileged"),
        ("context", "allowPrivilegeEscalation", None, "allowPrivilegeEscalation"),
        ("context", "runAsNonRoot", False, "runAsNonRoot"),
        ("context", "capabilities", {"drop": ["NET_RAW"]}, "capabilities"),
        ("context", "capabilities", {"drop": ["ALL"], "add": ["SYS_PTRACE"]}, "capabilities"),
        ("context", "procMount", "Unmasked", "procMount"),
        ("context", "seLinuxOptions", {"type": "spc_t"}, "seLinuxOptions"),
        ("context", "appArmorProfile", {"type": "Unconfined"}, "appArmorProfile"),
        ("container", "ports", [{"containerPort": 8080, "hostPort": 8080}], "hostPort"),
        ("container", "livenessProbe", {"httpGet": {"host": "example.com"}}, "probe's host"),
    ],
)
def test_a_violation_of_restricted_is_detected(where: str, key: str, value: Any, rule: str) -> None:
    template = _well()
    spec, (container,) = template["spec"], template["spec"]["containers"]
    places = {
        "pod": spec,
        "pod context": spec["securityContext"],
        "context": container["securityContext"],
        "container": container,
    }

    places[where][key] = value

    assert restricted.violations(template) == [rule]
