"""The environment of most measurements: a cluster, an endpoint and a Beacon between them."""

import contextlib
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.dev import build as builds
from beacon.dev import endpoint, testkit
from beacon.dev.api_server import load
from tests.bench import clusters, spending
from tests.bench import sink as sinks

_SLOW_S = 0.05


class Stage:
    """The running components.

    `sink` receives the events, or `slow`, an endpoint that takes 50 ms for each, if it is configured. `ready_s` is the
    duration of the last start, `start_cpu_s` the processor time of each process by then, `annotated` the number of
    annotated objects that were created.
    """

    def __init__(
        self,
        directory: Path,
        cluster: clusters.Cluster,
        sink: sinks.Sink,
        slow: endpoint.SinkServer,
        *,
        environ: Mapping[str, str],
        build: builds.Build,
    ) -> None:
        self.cluster = cluster
        self.sink = sink
        self.slow = slow
        self.annotated = 0
        self.ready_s = 0.0
        self.start_cpu_s: Mapping[str, float] = {}
        self._made = 0
        self._directory = directory
        self._environ = environ
        self._build = build
        self._changes: Mapping[str, Any] = {}
        self._files = 0
        self.beacon = self._configured({})

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Start Beacon and wait until it is ready."""
        began = time.monotonic()
        self.beacon.start()
        self._limit_files()
        self.beacon.wait_ready(timeout_s)
        self.ready_s = time.monotonic() - began
        self.start_cpu_s = spending.cpu_s(self.beacon)

    def reconfigure(self, *, files: int = 0, **changes: Any) -> None:
        """Restart Beacon with these configuration keys in addition to the default ones.

        `files` is the most that each process may open, as a container runtime limits it; 0: as this process may.
        """
        self.halt()
        self._files = files
        self._changes = changes
        self.beacon = self._configured(changes)
        self.start()

    def usual(self) -> None:
        """Restore the default configuration, and wait until no delivery is pending."""
        if self._changes:
            self.reconfigure()
        self.until_settled()

    def ledger(self) -> Path:
        """Stop Beacon, delete its ledger, and return the path."""
        self.halt()
        path = Path(self.beacon.environ["DB_PATH"])
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()
        return path

    def make(self, count: int, *, rate: float = 0.0, annotated: bool = True) -> clusters.Made:
        """Create new objects, and return after they exist."""
        first, self._made = self._made, self._made + count
        self.annotated += count if annotated else 0
        return self.cluster.make(count, rate=rate, first=first, annotated=annotated)

    def fill(self, count: int) -> int:
        """Create objects without the annotation at once, and return the number of the first."""
        first, self._made = self._made, self._made + count
        self.cluster.fill(count, first=first)
        return first

    def halt(self) -> None:
        """Kill Beacon, which is faster than an orderly stop."""
        self.beacon.halt()

    def until_settled(self, *, timeout: float = 120) -> None:
        """Wait until no delivery is pending."""
        testkit.until(lambda: self.pending() == 0, "all to be settled", timeout=timeout)

    def until_pending(self, count: int, *, timeout: float = 120) -> None:
        """Wait until this number of deliveries is pending."""
        testkit.until(lambda: self.pending() >= count, f"{count} pending deliveries", timeout=timeout)

    def pending(self) -> float:
        return testkit.sample(self.beacon.metrics(), "beacon_deliveries_pending")

    def _limit_files(self) -> None:
        if self._files and self.beacon.process is not None:  # in time: supervisord starts its programs later
            resource.prlimit(self.beacon.process.pid, resource.RLIMIT_NOFILE, (self._files, self._files))

    def _configured(self, changes: Mapping[str, Any]) -> testkit.Beacon:
        config = {
            "resources": [self.cluster.entry("ConfigMap")],
            "annotation": {"key": clusters.ANNOTATION},
            "payload": {"annotations": [load.MADE_AT]},
        } | ({} if "endpoints" in changes else {"endpoint": {"url": self.sink.url}})
        return testkit.Beacon(
            self._directory,
            config=config | dict(changes),
            kubeconfig=self.cluster.kubeconfig,
            environ=self._environ,
            build=self._build,
        )


@contextlib.contextmanager
def running(kubeconfig: Path | None, *, environ: Mapping[str, str], build: builds.Build) -> Iterator[Stage]:
    """Start all components and wait until Beacon is ready."""
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        clusters.running(Path(name), kubeconfig) as cluster,
        endpoint.running(shape="any", keep=50_000, log="none", latency_s=_SLOW_S) as slow,
        sinks.running() as sink,
    ):
        made = Stage(Path(name), cluster, sink, slow, environ=environ, build=build)
        try:
            made.start()
            yield made
        finally:
            made.halt()


def latencies_ms(made: clusters.Made, arrived: Sequence[sinks.Arrival]) -> list[float]:
    """Return the sorted latencies from creation to arrival; negative if an event arrived before the API's response."""
    return sorted(at_s * 1000 - made.there_ns(codec.decode(body)) / 1e6 for at_s, body in arrived)


def lateness_ms(made: clusters.Made, arrived: Sequence[sinks.Arrival]) -> list[float]:
    """Return the sorted delays of the load against its rate."""
    asked = sorted(made.asked_ns(codec.decode(body)) for _, body in arrived)
    return sorted((at_ns - asked[0]) / 1e6 - number * 1000 / made.rate for number, at_ns in enumerate(asked))


def made_a_second(made: clusters.Made, arrived: Sequence[sinks.Arrival]) -> float:
    """Return the rate that the load reached."""
    asked = [made.asked_ns(codec.decode(body)) for _, body in arrived]
    return (len(asked) - 1) * 1e9 / max(max(asked) - min(asked), 1)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
