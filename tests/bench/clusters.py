"""Where the load is made: an embedded API server of one's own, or a real one that BEACON_TEST_KUBECONFIG names.

In the embedded one it is made inside the server's process, where it costs least, and each object carries the instant at
which it was made. In a real one it is written through the API, into a namespace of its own that is removed afterwards;
the instant is that of the API's answer.
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
    """What was made at which rate: by name when it was asked for and when it was there, in nanoseconds since 1970.

    Both are empty when the objects carry that themselves.
    """

    rate: float
    sent: Mapping[str, int] = field(default_factory=dict)
    answered: Mapping[str, int] = field(default_factory=dict)

    def there_ns(self, event: Json) -> int:
        """Say when the object of an event was there, which is when the API had answered."""
        return self.answered.get(event["data"]["resource"]["name"]) or _carried(event)

    def asked_ns(self, event: Json) -> int:
        """Say when the object of an event was asked for."""
        return self.sent.get(event["data"]["resource"]["name"]) or _carried(event)


class Cluster:
    """A cluster that load is made in."""

    def __init__(self, kubeconfig: Path, embedded: remote.Remote | None, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.embedded = embedded
        self.namespace = namespace

    def entry(self, kind: str) -> Json:
        """Give what Beacon is to watch: in a real cluster nothing but the namespace of one's own."""
        own = {} if self.embedded else {"namespaces": [self.namespace]}
        return {"apiVersion": "v1", "kind": kind} | own

    def make(self, count: int, *, rate: float = 0.0, first: int = 0, annotated: bool = True) -> Made:
        """Make objects, the first with this number, and return when they are there."""
        if self.embedded:
            annotations = {ANNOTATION: "true"} if annotated else {}
            self.embedded.call("load", count=count, rate=rate, first=first, annotations=annotations)
            return Made(rate=rate)
        words = ["--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace, "--count", str(count)]
        words += ["--rate", str(rate), "--first", str(first), *(["--annotation", ANNOTATION] if annotated else [])]
        done = subprocess.run([sys.executable, "-m", "tests.bench.writing", *words], capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        told = codec.decode(done.stdout)
        return Made(rate=rate, sent=told["sent"], answered=told["answered"])


@contextlib.contextmanager
def running(directory: Path, kubeconfig: Path | None) -> Iterator[Cluster]:
    """Run an embedded cluster, or take a namespace of the real one."""
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
