"""Every declared metric changes: a scripted sequence of failures, in half a minute, moves each of them."""

import contextlib
import http.client
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from beacon import bus, errors, wire
from beacon.dev import testkit
from beacon.domain import model
from beacon.runtime import metrics, run_directory
from grafana import generate as dashboard
from tests.gate import needs
from tests.system import load, prometheus, running

CONFIG = {
    "app": {"logLevel": "debug"},  # so that what happens while standard output is not read fills the pipe
    "endpoint": {"timeout": "2m", "retry": {"maxAttempts": 2, "initialBackoff": "50ms"}},
    "reconciliation": {"interval": "1s"},
    "retention": {"retentionPeriod": "1s", "attemptsPeriod": "1s", "cleanupInterval": "1s"},
    "storage": {"volumePath": "/", "monitorInterval": "1s", "warningThreshold": 0.001},
}


class Scrapes:
    """Scrapes continuously, and records which metrics have had a sample other than zero."""

    def __init__(self, beacon: testkit.Beacon) -> None:
        self.declared = {family.name for family in metrics.REGISTRY.collect()}
        self.moved: set[str] = set()
        self._beacon = beacon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def still(self) -> set[str]:
        """Return the metrics that have not moved."""
        return self.declared - self.moved

    def wait_until_moved(self, expression: str) -> None:
        """Wait until the metric of an expression has had a sample other than zero."""
        name = expression.rsplit(maxsplit=2)[0]
        if not expression.endswith("== 0"):
            testkit.until(lambda: name in self.moved, expression, timeout=45)

    def look(self) -> str:
        text = self._beacon.metrics()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                self.declared.add(line.split()[2].removesuffix("_total"))
            elif not line.startswith("#"):
                head, _, value = line.rpartition(" ")
                if float(value) != 0:
                    name = head.partition("{")[0]
                    self.moved |= {head, name, name.removesuffix("_total"), name.removesuffix("_count")}
        return text

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            with contextlib.suppress(OSError, http.client.HTTPException):  # the exporter is killed too
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
    """Send the store an invalid request, and add a damaged metric file."""
    beyond = model.Outcome(delivery=2**63, generation=0, attempt=1, result=model.DeliveryResult.DELIVERED)
    claim = wire.Claim(endpoint="default", session="s", number=1, want=0, wait_s=0.0, settlements=(beyond,))
    with bus.Client(bus.address(run_dir), stop=threading.Event()) as client, contextlib.suppress(errors.PermanentError):
        client.call(wire.Inspect())  # its reply contains the ledger's id
        client.call(claim)
    (run_directory.metrics_directory(run_dir) / "counter_watcher_.db").touch()


def suspect(run_dir: Path, name: str) -> None:
    """Report three deaths of the notifier while it was sending the object's event."""
    with bus.Client(bus.address(run_dir), stop=threading.Event()) as client:
        found = client.call(wire.FindDeliveries(selection=wire.DeliveryFilter(name=name)))
        assert isinstance(found, wire.DeliveryPage)
        under_way = tuple(one.delivery for one in found.deliveries)
        for life in ("a", "b", "c"):
            reported = wire.Claim(
                endpoint="default", session=life, number=1, want=0, wait_s=0.0, died=life, died_with=under_way
            )
            client.call(reported)


@contextlib.contextmanager
def paused(run_dir: Path) -> Iterator[None]:
    """Pause the endpoint."""
    with bus.Client(bus.address(run_dir), stop=threading.Event()) as client:
        client.call(wire.Inspect())  # its reply contains the ledger's id
        client.call(wire.PauseEndpoint(endpoint="default"))
        yield
        client.call(wire.ResumeEndpoint(endpoint="default"))


def state(name: str) -> str:
    return f'beacon_endpoint_state{{endpoint="default",state="{name}"}} == 1'


def damage(path: Path) -> None:
    """Damage the header of the file, so that the store must salvage it."""
    with path.open("r+b") as file:
        file.write(b"nonsense")


def haunt(beacon: testkit.Beacon, name: str) -> None:
    """Add an object to the ledger that never existed in the cluster."""
    beacon.supervisorctl("stop", "store")
    with contextlib.closing(sqlite3.connect(beacon.environ["DB_PATH"])) as ledger:
        ledger.execute(
            "INSERT INTO order_keys (api_group, kind, namespace, name, bucket) SELECT api_group, kind, namespace, ?, 0"
            " FROM order_keys LIMIT 1",
            (name,),
        )
        ledger.execute(
            "INSERT INTO objects SELECT ?, k.id, o.api_group, o.kind, o.namespace, state, epoch, resource_version,"
            " judged_by, accepted_by, value, labels, annotations, changed_us FROM objects o, order_keys k"
            " WHERE o.state = 'tracked' AND k.name = ? LIMIT 1",
            (name, name),
        )
        ledger.commit()
    beacon.supervisorctl("start", "store")


class LogReader:
    """Reads Beacon's log, but for the times when a test lets it pause."""

    def __init__(self) -> None:
        self._going_on = threading.Event()
        self._going_on.set()

    def read(self, _line: object) -> None:
        self._going_on.wait(60)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self._going_on.clear()
        try:
            yield
        finally:
            self._going_on.set()


def asked_for_by_alerts() -> set[str]:
    """Return the metrics in the expressions of the rules; what a rule records has a colon before its name."""
    expressions = "".join(prometheus.RULES.read_text(encoding="utf-8").split("expr:")[1:])
    return set(re.findall(r"(?<!:)beacon_[a-z_]+", expressions))


def go_through(whole: running.Everything, log: LogReader, seen: Callable[[str], None], part: str) -> None:
    """Trigger the events that metrics count, one after another; `seen` waits until a scrape has shown each."""
    before = whole.sink.stats().distinct

    def delivered(events: int) -> None:
        whole.sink.wait_for(lambda stats: stats.distinct >= before + events)

    create(whole, f"bad{part}", *(f"good{part}{number}" for number in range(20)))
    delivered(20)
    seen("beacon_retries_exhausted_total > 0")
    run = [sys.executable, "-m", "beacon.cli", "redeliver", "--name", f"bad{part}", "--yes"]
    subprocess.run(run, env=whole.beacon.environ, check=True, capture_output=True)  # in vain
    seen("beacon_redeliveries_total > 0")

    whole.sink.stop()
    create(whole, *(f"late{part}{number}" for number in range(20)))
    for expression in ("beacon_breaker_open == 1", "beacon_endpoint_up == 0", "beacon_oldest_pending_age_seconds > 0"):
        seen(expression)
    seen(state("down"))
    suspect(whole.beacon.run_dir / "beacon", f"late{part}0")
    seen("beacon_deliveries_suspected > 0")
    whole.sink.start()
    delivered(40)
    seen(state("up"))
    with paused(whole.beacon.run_dir / "beacon"):
        seen(state("paused"))

    whole.sink.set(mode="hang")
    whole.cluster.annotate("configmaps", f"good{part}0", {load.ANNOTATION: "other"})
    seen("beacon_worker_busy > 0")
    whole.sink.set(mode="success")
    whole.sink.cut()  # the hanging request, which is repeated
    delivered(41)

    whole.beacon.kill("watcher", signal.SIGSTOP)
    whole.cluster.delete("configmaps", f"good{part}1")
    whole.cluster.faults.compact()
    whole.cluster.faults.drop()
    whole.beacon.kill("watcher", signal.SIGCONT)
    delivered(42)

    damaged = {"name": f"damaged{part}", "namespace": "default", "labels": {"of": {"no": "text"}}}
    whole.cluster.create("configmaps", {"metadata": damaged})
    seen("beacon_objects_unreadable > 0")
    whole.cluster.delete("configmaps", f"damaged{part}")

    with log.paused():
        create(whole, *(f"brief{part}{number}" for number in range(200)))
        delivered(242)
        seen("beacon_log_lines_dropped_total > 0")
    for number in range(200):
        whole.cluster.delete("configmaps", f"brief{part}{number}")

    whole.beacon.kill("notifier")
    spoil(whole.beacon.run_dir / "beacon")
    haunt(whole.beacon, f"ghost{part}")
    whole.beacon.wait_ready()
    seen("beacon_metric_files_damaged_total > 0")
    seen("beacon_drift_total > 0")
    delivered(443)  # including short-lived objects


@dataclass(frozen=True)
class Story:
    """The observations: by scraping, and by a Prometheus that still answers queries; None if it is not installed."""

    scrapes: Scrapes
    prometheus: prometheus.Prometheus | None


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    rules = [{"name_prefix": "bad", "status": 500}]
    log = LogReader()
    with (
        tempfile.TemporaryDirectory(prefix="b") as backups,
        running.everything(
            changes=CONFIG | {"backup": {"interval": "1s", "path": backups}}, on_line=log.read, rules=rules
        ) as whole,
    ):
        scrapes = Scrapes(whole.beacon)
        with prometheus.watching(whole.beacon.metrics_url) as asked, scrapes.going_on():
            # Twice: a counter's first increment creates its series, and only the next one yields a rate.
            for part in ("a", "b"):
                go_through(whole, log, asked.wait_until_seen if asked else scrapes.wait_until_moved, part)
            damage(Path(whole.beacon.environ["DB_PATH"]))
            whole.beacon.kill("store")
            with contextlib.suppress(TimeoutError):
                testkit.until(lambda: not scrapes.still, "every metric to move", timeout=20)
            if asked is not None:
                asked.wait_until_seen("beacon_db_rescued_rows_total > 0")
            yield Story(scrapes, asked)


def test_every_declared_metric_moves(story: Story) -> None:
    assert not story.scrapes.still


def test_every_alert_uses_existing_metrics(story: Story) -> None:
    assert asked_for_by_alerts() <= story.scrapes.moved


def test_every_fault_has_raised_its_alert(story: Story) -> None:
    needs.require("prometheus")
    asked = story.prometheus
    assert asked is not None
    wanted = {
        "BeaconDatabaseErrors",
        "BeaconDeliveriesWaitForReview default",
        "BeaconEndpointDown default",
        "BeaconGapWithDifferences configmaps",
        "BeaconLedgerDamaged",
        "BeaconObjectsUnreadable configmaps",
        "BeaconStorageWarning bytes",
    }

    def fired() -> set[str]:
        return {alert.removesuffix(" http") for alert in asked.fired()}  # the subject of alerts without an endpoint

    testkit.until(lambda: wanted <= fired(), f"{wanted} to have fired", timeout=20)


@pytest.mark.parametrize("title", [*dashboard.expressions(dashboard.load())])
def test_no_panel_of_the_dashboard_is_empty(story: Story, title: str) -> None:
    needs.require("prometheus")
    assert story.prometheus is not None
    expression = dashboard.expressions(dashboard.load())[title]

    found = story.prometheus.samples(expression)

    assert found, expression
    assert any(found), f"nothing but zeros: {expression}"
