"""A real Prometheus that scrapes a Beacon, where there is one (Debian's package prometheus)."""

import contextlib
import json
import math
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beacon.dev import whole

_RATE_INTERVAL = "5s"


class Prometheus:
    """Answers questions about what it has scraped since it began."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._began = time.time()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=1):
                return True
        except OSError:
            return False

    def samples(self, expression: str) -> list[float]:
        """Give every sample that an expression of the dashboard has had, with "All" for its variables."""
        text = expression.replace("$__rate_interval", _RATE_INTERVAL).replace("$job", ".*").replace("$instance", ".*")
        asked = {"query": text, "start": self._began, "end": time.time(), "step": 1}
        found = self._get(f"/api/v1/query_range?{urllib.parse.urlencode(asked)}")
        assert found["status"] == "success", found
        values = (float(value) for series in found["data"]["result"] for _, value in series["values"])
        return [value for value in values if not math.isnan(value)]

    def wait_until_seen(self, expression: str) -> None:
        """Wait until an expression has had a sample."""
        whole.until(lambda: self.samples(expression), f"Prometheus to see {expression}", timeout=45)

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._url}{path}", timeout=10) as reply:
            return dict(json.load(reply))


@contextlib.contextmanager
def watching(metrics_url: str) -> Iterator[Prometheus | None]:
    """Scrape a Beacon every second; None without a Prometheus."""
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    where = urllib.parse.urlsplit(metrics_url)
    job = {"job_name": "beacon", "metrics_path": where.path, "static_configs": [{"targets": [where.netloc]}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    port = whole.free_port()
    with tempfile.TemporaryDirectory(prefix="bp") as name:
        path = Path(name) / "prometheus.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        options = [
            f"--config.file={path}",
            f"--storage.tsdb.path={name}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = subprocess.Popen([program, *options, "--log.level=error"])
        try:
            asked = Prometheus(f"http://127.0.0.1:{port}")
            whole.until(asked.answers, "Prometheus", timeout=30)
            yield asked
        finally:
            process.terminate()
            process.wait(20)
