"""`beacon status` beside a real Beacon: its output, the problems it reports, and its exit codes."""

import json
import subprocess
import sys
from typing import Any

from beacon import errors
from beacon.dev import testkit
from beacon.dev import testkit as wholes
from tests.system import load, prometheus, running


def ask(whole: running.Everything, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "beacon.cli", "status", *options],
        env=whole.beacon.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def look(whole: running.Everything) -> dict[str, Any]:
    return dict(json.loads(ask(whole, "-o", "json")[1]))


def annotated(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: "true"}}}


def test_a_healthy_beacon_is_shown_with_every_process_scope_and_delivery() -> None:
    with running.everything() as whole:
        for number in range(3):
            whole.cluster.create("configmaps", annotated(f"o{number}"))
        wholes.until(lambda: look(whole)["deliveries"][0]["delivered"] == 3, "three deliveries", timeout=20)

        said: list[str] = []

        def healthy() -> bool:
            code, text = ask(whole)
            said.append(text)
            return code == errors.EXIT_OK

        wholes.until(healthy, "every component to have reported", timeout=20)

        assert said[-1].startswith("Healthy.\n")
        seen = look(whole)
        assert {one["name"] for one in seen["processes"]} == set(whole.beacon.programs())
        assert [(one["label"], one["listed"]) for one in seen["scopes"]] == [("configmaps", True)]
        assert [(gap["label"], gap["reason"]) for gap in seen["gaps"]] == [("configmaps", "first-list")]
        assert seen["storage"]["database_bytes"] > 0
        for title in ("processes", "scopes", "deliveries to default", "endpoint", "gaps, latest first", "storage"):
            assert f"\n{title}\n" in said[-1]


def test_problems_are_reported_in_sentences() -> None:
    with running.everything() as whole:
        whole.sink.stop()
        for number in range(8):
            whole.cluster.create("configmaps", annotated(f"o{number}"))
        down = "endpoint default: down since"
        wholes.until(lambda: any(down in one for one in look(whole)["wrong"]), "the outage to be seen", timeout=20)
        assert ask(whole)[0] == errors.EXIT_FAILURE

        whole.beacon.supervisorctl("stop", "notifier")
        assert any(one.startswith("notifier: STOPPED") for one in look(whole)["wrong"])

        whole.beacon.supervisorctl("stop", "store")
        code, said = ask(whole)
        assert code == errors.EXIT_UNAVAILABLE
        assert "store: the store did not answer" in said


class Walk:
    """Compares `status` with `/ready` and with the firing alerts, which need Prometheus, fault by fault."""

    def __init__(self, whole: running.Everything, asked: prometheus.Prometheus | None) -> None:
        self.whole, self.asked = whole, asked

    def healthy(self) -> None:
        """Wait until nothing is wrong; only before the first process was restarted."""
        testkit.until(lambda: ask(self.whole)[0] == errors.EXIT_OK, "a healthy status", timeout=40)

    def fault(self, sentence: str, *alerts: str, ready: bool = True, code: int = errors.EXIT_FAILURE) -> None:
        """Wait until `/ready` and the alerts report the fault; then `status` must report it, too."""
        if not ready:
            testkit.until(lambda: not self.whole.beacon.ready()["ready"], f"/ready to report {sentence}", timeout=40)
        if (asked := self.asked) is not None:
            testkit.until(lambda: set(alerts) <= asked.firing(), f"{alerts}", timeout=40)
        seen = look(self.whole)
        assert any(one.startswith(sentence) for one in seen["wrong"]), (sentence, seen["wrong"])
        assert ask(self.whole)[0] == code


def test_status_reports_each_fault_that_ready_or_an_alert_reports() -> None:
    changes = {"storage": {"volumePath": ""}}  # that of the database
    with (
        running.everything(changes=changes) as whole,
        prometheus.watching(whole.beacon.metrics_url, alert_after="1s") as asked,
    ):
        beacon, walk = whole.beacon, Walk(whole, asked)
        walk.healthy()

        whole.sink.stop()
        for number in range(8):
            whole.cluster.create("configmaps", annotated(f"late{number}"))
        walk.fault("endpoint default: down since", "BeaconEndpointDown default")
        whole.sink.start()
        walk.healthy()

        whole.sink.set(mode="failure", status=401)
        whole.cluster.create("configmaps", annotated("refused"))
        walk.fault("endpoint default: 1 failed (1 with 401); see", "BeaconDeliveriesWaitForReview default")
        whole.sink.set(mode="success")
        command(whole, "discard", "--state", "failed", "--reason", "a test", "--yes")
        walk.healthy()

        whole.cluster.faults.refuse()
        whole.cluster.faults.drop()
        disconnected = "BeaconWatcherDisconnected configmaps"
        walk.fault("configmaps: ", "BeaconComponentDown watcher", disconnected, ready=False)
        whole.cluster.faults.clear()
        walk.healthy()

        whole.cluster.faults.deny(verbs=["list", "watch"], resources=["configmaps"])
        whole.cluster.faults.drop()
        walk.fault("configmaps: ", "BeaconComponentDown watcher", ready=False)  # doubted for a minute
        whole.cluster.faults.clear()
        testkit.until(lambda: beacon.ready()["ready"], "the watch to be back", timeout=90)
        walk.healthy()

        for name in ("watcher", "notifier", "reconciler", "exporter"):
            beacon.supervisorctl("stop", name)
            alert = "BeaconAbsent" if name == "exporter" else f"BeaconProcessDown {name}"
            walk.fault(f"{name}: STOPPED", alert, ready=name == "reconciler")
            beacon.supervisorctl("start", name)
            beacon.wait_ready()
        restarted = [f"{name}: restarted" for name in ("exporter", "notifier", "reconciler", "watcher")]
        testkit.until(
            lambda: [one.partition(",")[0] for one in look(whole)["wrong"]] == restarted, f"{restarted}", timeout=40
        )

        beacon.supervisorctl("stop", "store")
        walk.fault(
            "store: the store did not answer", "BeaconProcessDown store", ready=False, code=errors.EXIT_UNAVAILABLE
        )
        beacon.supervisorctl("start", "store")
        beacon.wait_ready()

        command(whole, "adopt", "mistyped", "--force", "--yes")
        testkit.until(lambda: not beacon.ready()["ready"], "/ready to fail", timeout=30)
        for _ in range(5):
            wrong = [one for one in look(whole)["wrong"] if not one.startswith("watcher: restarted")]
            assert any(one.startswith(("watcher: ", "configmap: ", "configmaps: ")) for one in wrong), wrong


def test_a_volume_that_fills_up_is_reported_as_its_alert_reports_it() -> None:
    with running.everything(changes={"storage": {"warningThreshold": 0.0001, "criticalThreshold": 0.001}}) as whole:
        testkit.until(lambda: "beacon_storage_pressure" in whole.beacon.metrics(), "the first measurement", timeout=30)
        pressure = testkit.sample(
            whole.beacon.metrics(), "beacon_storage_pressure", resource="bytes", severity="critical"
        )

        assert pressure == 1
        assert any(one.startswith("storage: critical: ") for one in look(whole)["wrong"])
        assert ask(whole)[0] == errors.EXIT_FAILURE


def command(whole: running.Everything, *words: str) -> None:
    run = [sys.executable, "-m", "beacon.cli", *words]
    subprocess.run(run, env=whole.beacon.environ, check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_a_missing_beacon_is_reported_in_one_sentence_without_a_wait() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beacon.cli", "status"], env={}, capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == errors.EXIT_CONFIG
    assert done.stderr.strip() == "BEACON_RUN_DIR is not set: set it to a writable directory"
