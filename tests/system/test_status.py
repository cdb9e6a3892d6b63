"""`beacon status` beside a real Beacon: its output, the problems it reports, and its exit codes."""

import json
import subprocess
import sys
from typing import Any

from beacon import errors
from beacon.dev import testkit
from beacon.dev import testkit as wholes
from tests.system import load, running


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


def test_status_is_at_least_as_strict_as_ready_in_each_fault() -> None:
    with running.everything() as whole:
        testkit.until(lambda: ask(whole)[0] == errors.EXIT_OK, "every component to have reported", timeout=20)

        for name in ("watcher", "notifier", "reconciler", "exporter"):
            whole.beacon.supervisorctl("stop", name)
            assert any(one.startswith(f"{name}: STOPPED") for one in look(whole)["wrong"])
            assert ask(whole)[0] == errors.EXIT_FAILURE
            whole.beacon.supervisorctl("start", name)
        whole.beacon.wait_ready()
        restarted = [f"{name}: restarted" for name in ("exporter", "notifier", "reconciler", "watcher")]
        testkit.until(
            lambda: [one.partition(",")[0] for one in look(whole)["wrong"]] == restarted, f"{restarted}", timeout=20
        )

        whole.cluster.faults.refuse()
        whole.cluster.faults.drop()
        testkit.until(
            lambda: any(one.startswith("configmaps: ") for one in look(whole)["wrong"]),
            "the dead API server",
            timeout=30,
        )
        whole.cluster.faults.clear()
        whole.beacon.wait_ready()

        adopt = [sys.executable, "-m", "beacon.cli", "adopt", "mistyped", "--force", "--yes"]
        subprocess.run(adopt, env=whole.beacon.environ, check=True, stdout=subprocess.DEVNULL, timeout=300)
        testkit.until(lambda: not whole.beacon.ready()["ready"], "/ready to fail", timeout=30)
        for _ in range(5):
            wrong = [one for one in look(whole)["wrong"] if not one.startswith("watcher: restarted")]
            assert any(one.startswith(("watcher: ", "configmap: ", "configmaps: ")) for one in wrong), wrong


def test_a_missing_beacon_is_reported_in_one_sentence_without_a_wait() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beacon.cli", "status"], env={}, capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == errors.EXIT_CONFIG
    assert done.stderr.strip() == "BEACON_RUN_DIR is not set: set it to a writable directory"
