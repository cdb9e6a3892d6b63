"""One Beacon through a series of failures: the alerts, /ready and /healthz, and the log.

In order: everything works, the endpoint is down, it refuses events, then its token, the API server is down, every
process is killed, the store is stopped, the right to watch is removed, and Beacon is shut down.
"""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from beacon import codec
from beacon.dev import testkit
from tests.gate import needs
from tests.system import load, prometheus, running

TOKEN = "s3cret-of-the-day"
VALUE = "a-value-of-the-annotation"
CONFIG = {
    "app": {"logLevel": "debug"},
    "endpoint": {"retry": {"initialBackoff": "50ms"}, "park": {"maxProbeInterval": "1s"}},
}
PARKED = "BeaconEndpointParked default"
SUM = "events given up"
HASTE = "2s"  # `for` of the alerts
REVIEW = "BeaconDeliveriesWaitForReview default"
RATIO = "BeaconFailureRatioHigh default"
# The event that a process logs after it was killed and restarted.
LIVES = {
    "store": ("started", "configured", "serving"),
    "watcher": ("started", "configured", "watching started", "watch state changed"),
    "notifier": ("started", "configured", "claiming started"),
    "reconciler": ("started", "configured", "reconciling started", "reconcile state changed"),
    "exporter": ("started", "configured", "listening"),
}
# The events that other processes log if the store is away for long.
ABOUT_THE_STORE = {"waiting for the store", "store stopped answering", "claiming started", "events given up"}


@dataclass
class Day:
    """The observations: the alerts of each hour, /ready and /healthz at its end, and where its log begins.

    An hour was `scraped` if no scrape failed in it.
    """

    fired: dict[str, set[str]] = field(default_factory=dict)
    scraped: dict[str, bool] = field(default_factory=dict)
    ready: dict[str, dict[str, Any]] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    plain_lines: list[str] = field(default_factory=list)
    asked: prometheus.Prometheus | None = None
    status: str = ""  # while the endpoint is parked
    metrics: str = ""

    def logged(self, hour: str) -> list[dict[str, Any]]:
        """Return the log lines of one hour at info and above, without the sum of refused events a minute later."""
        first = self.begins[hour]
        until = min(begin for begin in (*self.begins.values(), len(self.lines)) if begin > first)
        return [line for line in self.lines[first:until] if line["level"] != "debug" and line["event"] != SUM]

    def story(self, hour: str) -> list[tuple[str, str]]:
        """Return (process, event) of the log lines of one hour, in order."""
        return [(line["process"], line["event"]) for line in self.logged(hour)]


class Hours:
    """Runs the failures."""

    def __init__(self, whole: running.Everything, day: Day) -> None:
        self.whole, self.day = whole, day

    @contextlib.contextmanager
    def hour(self, name: str) -> Iterator[None]:
        beacon, day = self.whole.beacon, self.day
        began, day.begins[name] = time.time(), len(beacon.lines)
        yield
        day.scraped[name] = not (day.asked and day.asked.missed_scrapes(since=began))
        day.fired[name] = day.asked.fired(since=began) | day.asked.firing() if day.asked else set()
        day.ready[name] = beacon.ready()
        day.live[name] = beacon.get(beacon.health_url)[0]

    def until_firing(self, *alerts: str) -> None:
        """Wait until these alerts fire; without a Prometheus return at once."""
        if (asked := self.day.asked) is not None:
            testkit.until(lambda: set(alerts) <= asked.firing(), f"{alerts}", timeout=30)

    def until_quiet(self, *but: str) -> None:
        """Wait until no other alerts fire."""
        if (asked := self.day.asked) is not None:
            testkit.until(lambda: asked.firing() <= set(but), f"no alert but {but}", timeout=30)

    def create(self, prefix: str, count: int) -> None:
        for number in range(count):
            annotations = {load.ANNOTATION: VALUE}
            metadata = {"name": f"{prefix}{number}", "namespace": "default", "annotations": annotations}
            self.whole.cluster.create("configmaps", {"metadata": metadata})

    def pass_by(self) -> None:
        if self.day.asked is not None:
            self.day.asked.wait_until_seen("beacon_build_info")
        self.until_quiet()
        compared = self.whole.beacon.logged
        testkit.until(lambda: compared("reconcile state changed"), "the first comparison", timeout=20)
        self.be_well()
        self.lose_the_endpoint()
        self.lose_the_cluster()
        for name in LIVES:
            self.kill(name)
        self.lose_the_store()
        with self.hour("no right"):
            self.whole.cluster.faults.deny(verbs=["list", "watch"], resources=["configmaps"])
            self.whole.cluster.faults.drop()
            testkit.until(lambda: self.watch_state() == "forbidden", "the refusal", timeout=30)
        self.day.begins["end"] = len(self.whole.beacon.lines)
        self.whole.beacon.stop()
        self.until_firing("BeaconAbsent")

    def be_well(self) -> None:
        with self.hour("quiet"):
            self.create("quiet", 20)
            self.whole.sink.wait_for(lambda stats: stats.accepted == 20)
            load.pause(random.Random(0), 5, 5)  # a while in which nothing happens

    def lose_the_endpoint(self) -> None:
        whole = self.whole
        with self.hour("endpoint away"):
            whole.sink.stop()
            self.create("late", 20)
            self.until_firing("BeaconEndpointDown default")
            testkit.until(lambda: whole.beacon.logged("breaker opened"), "the breaker", timeout=20)
        with self.hour("endpoint back"):
            whole.sink.start()
            whole.sink.wait_for(lambda stats: stats.accepted == 40)
            testkit.until(lambda: whole.beacon.logged("breaker closed"), "the breaker", timeout=20)
            self.until_quiet()
        with self.hour("refusal"):
            self.create("bad", 5)
            self.until_firing(REVIEW)
            testkit.until(lambda: whole.beacon.logged("endpoint refuses events"), "the refusal", timeout=20)
        with self.hour("parked"):
            whole.sink.set(mode="failure", status=401)
            self.create("park", 5)
            testkit.until(lambda: self.endpoint_state()["state"] == "parked", "the parking", timeout=20)
            self.until_firing(PARKED)
            command = [str(testkit.SCRIPTS / "beacon"), "status"]
            environ = os.environ | whole.beacon.environ
            found = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
            self.day.status, self.day.metrics = found.stdout, whole.beacon.metrics()
        with self.hour("accepted again"):
            whole.sink.set(mode="success")
            whole.sink.wait_for(lambda stats: stats.accepted == 45)
            testkit.until(lambda: self.endpoint_state()["state"] == "up", "the end of the parking", timeout=20)
            self.until_firing(REVIEW)
            self.until_quiet(REVIEW, RATIO)

    def lose_the_cluster(self) -> None:
        whole = self.whole
        with self.hour("API server away"):
            whole.cluster.faults.refuse()
            whole.cluster.faults.drop()
            self.until_firing("BeaconWatcherDisconnected configmaps", "BeaconComponentDown watcher")
            testkit.until(lambda: not whole.beacon.ready()["ready"], "not being ready", timeout=20)
        with self.hour("API server back"):
            whole.cluster.faults.clear()
            whole.beacon.wait_ready()
            changes = whole.beacon.logged
            testkit.until(lambda: changes("watch state changed")[-1]["state"] == "watching", "the log", timeout=20)
            self.until_quiet(REVIEW, RATIO)

    def endpoint_state(self) -> dict[str, Any]:
        return dict(self.whole.beacon.ready()["checks"]["endpoint"])

    def watch_state(self) -> str:
        scopes = self.whole.beacon.ready()["checks"].get("watcher", {}).get("scopes", {})
        return str(scopes.get("ConfigMap", {}).get("state", ""))

    def kill(self, name: str) -> None:
        beacon = self.whole.beacon
        with self.hour(f"{name} killed"):
            last = LIVES[name][-1]
            before = len(beacon.logged(last, process=name))
            beacon.kill(name)
            testkit.until(lambda: len(beacon.logged(last, process=name)) > before, "its next life", timeout=20)
            testkit.until(lambda: beacon.logged("died", program=name), "its death to be said", timeout=20)
            beacon.wait_ready()

    def lose_the_store(self) -> None:
        beacon = self.whole.beacon
        with self.hour("store stopped"):
            beacon.supervisorctl("stop", "store")
            self.until_firing("BeaconProcessDown store", "BeaconComponentDown store")
        with self.hour("store back"):
            beacon.supervisorctl("start", "store")
            beacon.wait_ready()


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    rules = [{"name_prefix": "bad", "status": 400}]
    environ = {"ENDPOINT_AUTH_TOKEN": TOKEN}
    with (
        running.everything(changes=CONFIG, environ=environ, rules=rules) as whole,
        prometheus.watching(whole.beacon.metrics_url, alert_after=HASTE) as asked,
    ):
        seen = Day(asked=asked)
        Hours(whole, seen).pass_by()
        seen.lines, seen.plain_lines = list(whole.beacon.lines), whole.beacon.plain_lines
        yield seen


@pytest.fixture
def fired(day: Day) -> dict[str, set[str]]:
    needs.require("prometheus")
    # While a scrape fails, Beacon is absent: this machine was too busy.
    return {hour: alerts if day.scraped[hour] else alerts - {"BeaconAbsent"} for hour, alerts in day.fired.items()}


def test_a_quiet_healthy_system_raises_no_alert(fired: dict[str, set[str]]) -> None:
    assert fired["quiet"] == set()


@pytest.mark.parametrize(
    ("hour", "alerts"),
    [
        ("endpoint away", {"BeaconEndpointDown default"}),
        ("refusal", {REVIEW}),
        ("API server away", {"BeaconWatcherDisconnected configmaps", "BeaconComponentDown watcher", REVIEW}),
    ],
)
def test_a_fault_raises_its_alerts_and_no_other(fired: dict[str, set[str]], hour: str, alerts: set[str]) -> None:
    # Refused events are also a high failure ratio, as soon as enough scrapes have seen them.
    assert alerts <= fired[hour] <= alerts | ({RATIO} if REVIEW in alerts else set())


def test_a_parked_endpoint_raises_its_alert(fired: dict[str, set[str]]) -> None:
    assert {PARKED} <= fired["parked"] <= {PARKED, REVIEW, RATIO}
    assert PARKED not in fired["API server away"]


def test_a_parked_endpoint_is_seen_in_the_metrics_in_status_and_in_ready(day: Day) -> None:
    check = day.ready["parked"]["checks"]["endpoint"]

    assert (day.ready["parked"]["ready"], check["ok"], check["state"]) == (True, False, "parked")
    assert testkit.sample(day.metrics, "beacon_endpoint_state", endpoint="default", state="parked") == 1
    assert "(unauthorized), 5 pending and 5 failed; replace the token or the client certificate" in day.status
    assert day.ready["accepted again"]["checks"]["endpoint"]["ok"]


def test_the_log_reports_the_parking_and_claims_no_loss(day: Day) -> None:
    lines = day.logged("parked") + day.logged("accepted again")
    of_the_bad_ones = ("endpoint refuses events", "endpoint accepts events again")
    story = [(line["process"], line["event"]) for line in lines if line["event"] not in of_the_bad_ones]

    assert sorted(story) == [
        ("notifier", "events set aside"),
        ("store", "endpoint parked"),
        ("store", "parking ended"),
    ]
    (restored,) = [line["restored"] for line in lines if line["event"] == "endpoint parked"]
    assert restored == 5


def test_a_stopped_process_raises_its_alerts(fired: dict[str, set[str]]) -> None:
    assert {"BeaconProcessDown store", "BeaconComponentDown store"} <= fired["store stopped"]


@pytest.mark.parametrize("name", LIVES)
def test_a_killed_and_restarted_process_raises_no_other_alerts(fired: dict[str, set[str]], name: str) -> None:
    about_itself = {"BeaconProcessDown", "BeaconComponentDown", "BeaconWatcherDisconnected"}  # while it is down

    assert {alert.split()[0] for alert in fired[f"{name} killed"] - {REVIEW, RATIO}} <= about_itself


def test_the_log_reports_an_outage_of_the_endpoint_once_and_in_order(day: Day) -> None:
    assert day.logged("quiet") == []
    assert day.story("endpoint away") == [("notifier", "breaker opened")]
    assert day.story("endpoint back") == [("notifier", "breaker closed")]
    (opened,), (closed,) = day.logged("endpoint away"), day.logged("endpoint back")
    assert (opened["level"], opened["endpoint"], opened["last"]) == ("warning", "default", "network")
    assert closed["outage_s"] > 0


def test_the_log_reports_refused_events_once_with_an_example(day: Day) -> None:
    line, *later = day.logged("refusal")

    assert not [one for one in later if one["event"] != "endpoint refuses events"]
    assert len(later) < 4
    assert (line["event"], line["level"], line["code"]) == ("endpoint refuses events", "warning", "400")
    assert line["event_id"]
    assert line["name"].startswith("bad")


def test_the_log_reports_an_outage_of_the_api_server_once_and_in_order(day: Day) -> None:
    lines = [*day.logged("API server away"), *day.logged("API server back")]
    lines = [line for line in lines if line["event"] != "events given up"]  # of the hour before, a minute later

    assert [(line["event"], line["scope"], line["state"]) for line in lines] == [
        ("watch state changed", "configmaps", "unreachable"),
        ("watch state changed", "configmaps", "watching"),
    ]
    assert [line["level"] for line in lines] == ["warning", "info"]
    assert "does not answer" in lines[0]["reason"]
    assert lines[1]["failures"] > 0  # the retries in between are counted, not logged


@pytest.mark.parametrize("name", LIVES)
def test_the_log_reports_the_death_of_a_process_and_its_restart(day: Day, name: str) -> None:
    story = day.story(f"{name} killed")

    assert story.count(("sentinel", "died")) == 1
    others = [(process, event) for process, event in story if process not in ("sentinel", name)]
    own = [(process, event) for process, event in story if process == name and event != "events given up"]
    assert {event for _, event in others} <= (ABOUT_THE_STORE if name == "store" else {"events given up"})
    assert own == [(name, event) for event in LIVES[name]]


def test_the_shutdown_is_logged_process_by_process(day: Day) -> None:
    names = ("watcher", "reconciler", "notifier", "exporter", "store", "sentinel")

    assert [line for line in day.story("end") if line[1] != "watch state changed"] == [(n, "ended") for n in names]
    assert day.plain_lines == []


def test_single_events_are_logged_at_debug_with_their_id_and_object(day: Day) -> None:
    recorded = [line for line in day.lines if line["event"] == "event recorded"]
    sent = [line for line in day.lines if line["event"] == "event sent" and line["result"] == "delivered"]

    assert {line["name"] for line in sent} == {f"{prefix}{n}" for prefix in ("quiet", "late") for n in range(20)} | {
        f"park{n}" for n in range(5)
    }
    assert {line["level"] for line in (*recorded, *sent)} == {"debug"}
    ids = {line["event_id"]: (line["kind"], line["namespace"], line["name"]) for line in recorded}
    assert all(ids[line["event_id"]] == (line["kind"], line["namespace"], line["name"]) for line in sent)


def test_the_log_contains_no_secret_and_no_payload(day: Day) -> None:
    said = codec.encode(day.lines).decode()

    assert TOKEN not in said
    assert VALUE not in said


def test_a_stopped_or_refusing_endpoint_does_not_affect_readiness(day: Day) -> None:
    for hour in ("quiet", "endpoint away", "endpoint back", "refusal"):
        assert day.ready[hour]["ready"], hour
    endpoint = day.ready["endpoint away"]["checks"]["endpoint"]
    assert (endpoint["ok"], endpoint["state"], endpoint["breaker"]) == (False, "down", "open")
    assert endpoint["since"] > day.ready["quiet"]["checks"]["endpoint"]["since"]


@pytest.mark.parametrize(
    ("hour", "component", "state", "why"),
    [
        ("API server away", "watcher", "unreachable", "does not answer"),
        ("no right", "watcher", "forbidden|opening|unreachable", ""),
        ("store stopped", "store", "stopped", "it ended at"),
    ],
)
def test_a_failure_that_prevents_events_makes_it_unready_with_the_reason(
    day: Day, hour: str, component: str, state: str, why: str
) -> None:
    said = day.ready[hour]
    check = said["checks"][component]
    inner = check["scopes"]["ConfigMap"] if component == "watcher" else check

    assert (said["ready"], check["ok"], inner["ok"]) == (False, False, False)
    assert inner["state"] in state.split("|")
    assert why in inner["why"]
    assert inner["since"]


def test_a_ready_beacon_reports_the_state_of_each_part(day: Day) -> None:
    checks = day.ready["quiet"]["checks"]

    assert all(check["since"] for check in checks.values())
    assert checks["store"]["round_trip_ms"] > 0
    scope = checks["watcher"]["scopes"]["ConfigMap"]
    assert (scope["state"], scope["listed"]) == ("watching", True)
    assert scope["position_age_s"] >= 0
    assert (checks["notifier"]["state"], checks["storage"]["state"]) == ("claiming", "ok")


def test_liveness_never_fails_because_a_restart_would_not_help(day: Day) -> None:
    assert set(day.live.values()) == {200}
