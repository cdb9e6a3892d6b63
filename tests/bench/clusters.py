"""The cluster under load: an embedded API server, or the real one of BEACON_TEST_KUBECONFIG.

In the embedded one the objects are created inside the server's process, where that costs least, and each carries its
creation time. In a real one they are created through the API, in a temporary namespace; the creation time is that of
the API's response.
"""

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.dev.api_server import load, remote
from tests.bench import writing

ANNOTATION = "bakerapps.net.maas"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Created objects: their rate, and by name when each was requested and when it was created, in ns since 1970.

    Both mappings are empty if the objects carry these times themselves.
    """

    rate: float
    sent: Mapping[str, int] = field(default_factory=dict)
    answered: Mapping[str, int] = field(default_factory=dict)

    def there_ns(self, event: Json) -> int:
        """Return when the object of an event was created, that is, when the API had responded."""
        return self.answered.get(event["data"]["resource"]["name"]) or _carried(event)

    def asked_ns(self, event: Json) -> int:
        """Return when the object of an event was requested."""
        return self.sent.get(event["data"]["resource"]["name"]) or _carried(event)


class Cluster:
    """A cluster in which load is created."""

    def __init__(self, kubeconfig: Path, embedded: remote.Remote | None, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.embedded = embedded
        self.namespace = namespace

    def entry(self, kind: str) -> Json:
        """Return the entry of Beacon's configuration; in a real cluster it is limited to the temporary namespace."""
        own = {} if self.embedded else {"namespaces": [self.namespace]}
        return {"apiVersion": "v1", "kind": kind} | own

    def make(self, count: int, *, rate: float = 0.0, first: int = 0, annotated: bool = True) -> Made:
        """Create objects, numbered from `first`, and return after they exist."""
        if self.embedded:
            annotations = {ANNOTATION: "true"} if annotated else {}
            self.embedded.call("load", count=count, rate=rate, first=first, annotations=annotations)
            return Made(rate=rate)
        words = ["--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, "--count", str(count)]
        words += ["--rate", str(rate), "--first", str(first), *(["--annotation", ANNOTATION] if annotated else [])]
        done = subprocess.run([sys.executable, "-m", "tests.bench.writing", *words], capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        times = codec.decode(done.stdout)
        return Made(rate=rate, sent=times["sent"], answered=times["answered"])

    def fill(self, count: int, *, first: int) -> None:
        """Create many objects without the annotation at once; only in an embedded cluster."""
        self.own.call("fill", count=count, first=first)

    def churn(self, count: int, *, first: int, rate: float, seconds: float) -> float:
        """Change objects for some time, and return the rate that was reached; only in an embedded cluster."""
        done = self.own.call("churn", count=count, first=first, rate=rate, seconds=seconds)
        return float(done["made"] / done["seconds"])

    @property
    def own(self) -> remote.Remote:
        """Return the embedded cluster."""
        if self.embedded is None:
            raise RuntimeError("the cluster is not an embedded one")
        return self.embedded


@contextlib.contextmanager
def running(directory: Path, kubeconfig: Path | None) -> Iterator[Cluster]:
    """Run an embedded cluster, or create a namespace in the real one."""
    if kubeconfig is None:
        with remote.running(directory, "--bookmark-interval", "10", "--history", "200000") as embedded:
            yield Cluster(embedded.kubeconfig, embedded, "default")
        return
    api, namespace = writing.Api(kubeconfig, 1), f"beacon-bench-{uuid.uuid4().hex[:8]}"
    api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    try:
        yield Cluster(kubeconfig, None, namespace)
    finally:
        api.ask("DELETE", f"/api/v1/namespaces/{namespace}")


def _carried(event: Json) -> int:
    return int(event["data"]["metadata"]["annotations"][load.MADE_AT])
