"""Every metric that is declared is alive: a scripted hour of trouble, in half a minute, moves each of them."""

import contextlib
import http.client
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from beacon import bus, errors, metrics, model, rundir, wire
from beacon.dev import whole as wholes
from tests.system import load, running

RULES = Path(__file__).parents[2] / "k8s" / "overlays" / "monitoring" / "prometheusrule.yaml"
RETRY = {"retry": {"maxAttempts": 2, "initialBackoff": "50ms"}}


class Scrapes:
    """Scrapes all the time, and remembers which metrics have had a sample that isn't zero."""

    def __init__(self, beacon: wholes.Beacon) -> None:
        self.declared = {family.name for family in metrics.REGISTRY.collect()}
        self.moved: set[str] = set()
        self._beacon = beacon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def still(self) -> set[str]:
        """Name what has not moved."""
        return self.declared - self.moved

    def look(self) -> str:
        text = self._beacon.metrics()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                self.declared.add(line.split()[2].removesuffix("_total"))
            elif not line.startswith("#"):
                head, _, value = line.rpartition(" ")
                if float(value) != 0:
                    name = head.partition("{")[0]
                    self.moved |= {name, name.removesuffix("_total"), name.removesuffix("_count")}
        return text

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            with contextlib.suppress(OSError, http.client.HTTPException):  # the exporter is killed, too
                self.look()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def create(whole: running.Everything, *names: str) -> None:
    for name in names:
        metadata = {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: "true"}}
        whole.cluster.create("configmaps", {"metadata": metadata})


def spoil(run_dir: Path) -> None:
    """Ask the store for what it can't do, and leave a file among the metric files that is none."""
    beyond = model.Outcome(delivery=2**63, generation=0, attempt=1, result=model.Result.DELIVERED)
    claim = wire.Claim(endpoint="default", session="s", number=1, want=0, wait_s=0.0, settlements=(beyond,))
    with bus.Client(bus.address(run_dir), stop=threading.Event()) as client, contextlib.suppress(errors.PermanentError):
        client.call(claim)
    (rundir.metrics_directory(run_dir) / "counter_watcher_.db").touch()


def damage(path: Path) -> None:
    """Make the file one that is no database, of which the store can save what can be read."""
    with path.open("r+b") as file:
        file.write(b"nonsense")


def asked_for_by_alerts() -> set[str]:
    return set(re.findall(r"beacon_[a-z_]+", "".join(RULES.read_text(encoding="utf-8").split("expr:")[1:])))


def test_every_metric_that_is_declared_moves_when_what_it_counts_happens() -> None:
    rules = [{"name_prefix": "bad", "status": 500}]
    with running.everything(changes={"endpoint": RETRY}, rules=rules) as whole:
        scrapes = Scrapes(whole.beacon)
        with scrapes.going_on():
            create(whole, "bad", *(f"good{number}" for number in range(20)))
            whole.sink.wait_for(lambda stats: stats.accepted == 20)
            wholes.until(lambda: "beacon_retries_exhausted" in scrapes.moved, "an event to be given up", timeout=20)

            whole.sink.stop()
            create(whole, *(f"late{number}" for number in range(20)))
            wholes.until(lambda: "beacon_breaker_open" in scrapes.moved, "the breaker", timeout=20)
            whole.sink.start()
            whole.sink.wait_for(lambda stats: stats.accepted == 40)

            whole.sink.set(latency_s=0.3)
            whole.cluster.annotate("configmaps", "good0", {load.ANNOTATION: "other"})
            whole.sink.wait_for(lambda stats: stats.accepted == 41)

            whole.beacon.kill("watcher", signal.SIGSTOP)
            whole.cluster.delete("configmaps", "good1")
            whole.cluster.faults.compact()
            whole.cluster.faults.drop()
            whole.beacon.kill("watcher", signal.SIGCONT)
            whole.sink.wait_for(lambda stats: stats.accepted == 42)

            whole.beacon.kill("notifier")
            spoil(whole.beacon.run_dir / "beacon")
            damage(whole.beacon.directory / "events.db")
            whole.beacon.kill("store")
            with contextlib.suppress(TimeoutError):
                wholes.until(lambda: not scrapes.still, "every metric to move", timeout=20)
        assert not scrapes.still
        assert asked_for_by_alerts() <= scrapes.moved
