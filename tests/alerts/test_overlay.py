"""The monitoring overlay builds, and matches Beacon and the tested rules and dashboard."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from beacon.configuration import settings
from tests.alerts import test_alerts

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "k8s" / "overlays" / "monitoring"
BASE = ROOT / "k8s" / "base"
KUBECTL = Path(sys.executable).parent / "kubectl"


def build(directory: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects of a kustomization by kind and name."""
    done = subprocess.run([str(KUBECTL), "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [thing for thing in yaml.safe_load_all(done.stdout) if thing]
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in found}


@pytest.fixture(scope="module")
def overlay() -> dict[tuple[str, str], dict[str, Any]]:
    return build(OVERLAY)


def test_it_builds_and_uses_one_namespace(overlay: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert set(overlay) == {
        ("ServiceMonitor", "beacon"),
        ("PrometheusRule", "beacon"),
        ("ConfigMap", "beacon-dashboard"),
    }
    assert {thing["metadata"]["namespace"] for thing in overlay.values()} == {"beacon"}


def test_its_rules_are_the_tested_ones(overlay: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert overlay["PrometheusRule", "beacon"]["spec"] == yaml.safe_load(test_alerts.RULES.read_text())["spec"]


def test_its_dashboard_is_the_tested_one_and_has_grafanas_label(
    overlay: dict[tuple[str, str], dict[str, Any]],
) -> None:
    dashboard = overlay["ConfigMap", "beacon-dashboard"]

    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["dashboard.json"]) == json.loads(
        (ROOT / "grafana" / "dashboard.json").read_text()
    )


def test_a_scrape_uses_the_metrics_path_and_keeps_beacons_labels(
    overlay: dict[tuple[str, str], dict[str, Any]],
) -> None:
    (endpoint,) = overlay["ServiceMonitor", "beacon"]["spec"]["endpoints"]

    assert endpoint["path"] == settings.Metrics().path
    assert endpoint["honorLabels"] is True  # the operator's own label `endpoint` would replace Beacon's


@pytest.mark.skipif(not BASE.exists(), reason="there are no manifests of Beacon itself yet")
def test_its_service_monitor_selects_the_service_of_the_base(overlay: dict[tuple[str, str], dict[str, Any]]) -> None:
    monitor = overlay["ServiceMonitor", "beacon"]
    base = build(BASE)
    service = base["Service", "beacon"]

    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
