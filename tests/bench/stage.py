"""A cluster, an endpoint and a Beacon between them: what most rows are measured on."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.dev import endpoint, whole
from beacon.dev.cluster import load
from tests.bench import clusters, terms
from tests.bench import sink as sinks

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All there is. `sink` takes what is sent, unless the test endpoint was asked for."""

    cluster: clusters.Cluster
    sink: sinks.Sink
    endpoint: endpoint.Server
    beacon: whole.Beacon

    def start(self) -> float:
        """Start Beacon and say how many seconds it took to be ready."""
        began = time.monotonic()
        self.beacon.start()
        self.beacon.wait_ready(60)
        return time.monotonic() - began

    def until_pending(self, count: int) -> None:
        """Wait until so many deliveries are open."""
        whole.until(lambda: self.pending() >= count, f"{count} open deliveries", timeout=120)

    def until_settled(self) -> None:
        """Wait until nothing is open any more."""
        whole.until(lambda: self.pending() == 0, "all to be settled", timeout=120)

    def pending(self) -> float:
        return whole.sample(self.beacon.metrics(), "beacon_deliveries_pending")


@contextlib.contextmanager
def stage(
    wanted: terms.Terms,
    changes: Mapping[str, Any] | None = None,
    *,
    kinds: Sequence[str] = ("ConfigMap",),
    start: bool = True,
    environ: Mapping[str, str] | None = None,
    **behaviour: Any,
) -> Iterator[Stage]:
    """Run everything; `changes` are keys of Beacon's configuration.

    With `behaviour` the endpoint is the test endpoint, which behaves so, else the sink, which costs next to nothing.
    """
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        clusters.running(Path(name), wanted.kubeconfig) as cluster,
        endpoint.running(shape="any", keep=50_000, log="none", **behaviour) as misbehaving,
        sinks.running() as sink,
    ):
        config = {
            "resources": [cluster.entry(kind) for kind in kinds],
            "annotation": {"key": clusters.ANNOTATION},
            "payload": {"annotations": [load.MADE_AT]},
            "endpoint": {"url": misbehaving.url if behaviour else sink.url},
        }
        beacon = whole.Beacon(
            Path(name), config=config | dict(changes or {}), kubeconfig=cluster.kubeconfig, environ=environ
        )
        made = Stage(cluster=cluster, sink=sink, endpoint=misbehaving, beacon=beacon)
        try:
            if start:
                made.start()
            yield made
        finally:
            beacon.stop()


def latencies_ms(made: clusters.Made, arrived: Sequence[sinks.Arrival]) -> list[float]:
    """Give how long each event took from being there to its arrival, sorted. Below 0: it came before the answer."""
    return sorted(at_s * 1000 - made.there_ns(codec.decode(body)) / 1e6 for at_s, body in arrived)


def lateness_ms(made: clusters.Made, arrived: Sequence[sinks.Arrival]) -> list[float]:
    """Give how much later than at its rate the load was made, sorted."""
    asked = sorted(made.asked_ns(codec.decode(body)) for _, body in arrived)
    return sorted((at_ns - asked[0]) / 1e6 - number * 1000 / made.rate for number, at_ns in enumerate(asked))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Give the figure below which that share of them lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
