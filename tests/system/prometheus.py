"""A real Prometheus that scrapes a Beacon and evaluates our alerts, if it is installed (Debian package prometheus).

It scrapes as the operator makes it scrape by our ServiceMonitor: with labels of its own, one of them `endpoint`.
"""

import contextlib
import json
import math
import re
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beacon.codec import documents
from beacon.dev import testkit

OVERLAY = Path(__file__).parents[2] / "k8s" / "overlays" / "monitoring"
RULES = OVERLAY / "prometheusrule.yaml"
_RATE_INTERVAL = "30s"  # many scrapes, so that a few may fail while this machine is busy
_OPERATORS = {"endpoint": "http", "namespace": "beacon", "pod": "beacon-0", "service": "beacon"}


class Prometheus:
    """Queries the Prometheus about the samples since its start."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._began = time.time()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=60):
                return True
        except OSError:
            return False

    def samples(self, expression: str) -> list[float]:
        """Return every sample of an expression of the dashboard, with "All" for its variables."""
        text = re.sub(r"\$(job|instance|endpoint)\b", ".*", expression.replace("$__rate_interval", _RATE_INTERVAL))
        asked = {"query": text, "start": self._began, "end": time.time(), "step": 1}
        found = self._get(f"/api/v1/query_range?{urllib.parse.urlencode(asked)}")
        assert found["status"] == "success", found
        values = (float(value) for series in found["data"]["result"] for _, value in series["values"])
        return [value for value in values if not math.isnan(value)]

    def wait_until_seen(self, expression: str) -> None:
        """Wait until an expression has had a sample."""
        testkit.until(lambda: self.samples(expression), f"Prometheus to see {expression}", timeout=45)

    def missed_scrapes(self, *, since: float) -> bool:
        """Return True if a scrape has failed since an instant, because this machine was too busy for it."""
        asked = {"query": "up == 0", "start": max(self._began, since), "end": time.time(), "step": 1}
        return bool(self._get(f"/api/v1/query_range?{urllib.parse.urlencode(asked)}")["data"]["result"])

    def firing(self) -> set[str]:
        """Return the alerts that fire now, each with its subject: `BeaconEndpointDown default`."""
        found = self._get("/api/v1/alerts")["data"]["alerts"]
        return {_of(alert["labels"]) for alert in found if alert["state"] == "firing"}

    def fired(self, *, since: float = 0.0) -> set[str]:
        """Return the alerts that have fired since an instant, in the form of `firing`."""
        asked = {
            "query": 'ALERTS{alertstate="firing"}',
            "start": max(self._began, since),
            "end": time.time(),
            "step": 1,
        }
        found = self._get(f"/api/v1/query_range?{urllib.parse.urlencode(asked)}")
        return {_of(series["metric"]) for series in found["data"]["result"]}

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._url}{path}", timeout=60) as reply:
            return dict(json.load(reply))


@contextlib.contextmanager
def watching(metrics_url: str, *, alert_after: str = "0s") -> Iterator[Prometheus | None]:
    """Scrape a Beacon every second and evaluate our alerts, with `alert_after` as `for`; None without a Prometheus."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    where = urllib.parse.urlsplit(metrics_url)
    pace = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": pace, "scrape_configs": [_job(where.netloc, where.path)], "rule_files": ["rules.json"]}
    port = testkit.free_port()
    with tempfile.TemporaryDirectory(prefix="bp") as name:
        path = Path(name) / "prometheus.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        path.with_name("rules.json").write_text(json.dumps(_hasty(alert_after)), encoding="utf-8")
        options = [
            f"--config.file={path}",
            f"--storage.tsdb.path={name}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = subprocess.Popen([program, *options, "--log.level=error"])
        try:
            asked = Prometheus(f"http://127.0.0.1:{port}")
            testkit.until(asked.answers, "Prometheus", timeout=30)
            yield asked
        finally:
            process.terminate()
            process.wait(120)


def _job(address: str, path: str) -> dict[str, Any]:
    """Return the scrape configuration that the operator generates from the ServiceMonitor."""
    (endpoint,) = documents.load((OVERLAY / "servicemonitor.yaml").read_text(encoding="utf-8"))["spec"]["endpoints"]
    assert endpoint["path"] == path
    targets = [{"targets": [address], "labels": _OPERATORS}]
    honor = endpoint.get("honorLabels", False)
    return {"job_name": "beacon", "metrics_path": path, "honor_labels": honor, "static_configs": targets}


def _hasty(alert_after: str) -> dict[str, Any]:
    """Return our rules with shorter `for` durations."""
    spec: dict[str, Any] = documents.load(RULES.read_text(encoding="utf-8"))["spec"]
    for group in spec["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = alert_after
    return spec


def _of(labels: dict[str, str]) -> str:
    """Return an alert's name and subject label; `endpoint` is also a label of every target."""
    of = next((labels[name] for name in ("component", "process", "scope", "resource", "drift") if name in labels), "")
    return f"{labels['alertname']} {of or labels.get('endpoint', '')}".rstrip()
