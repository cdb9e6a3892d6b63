"""`beacon explain` beside a real Beacon: the history of one object, and the reason why another has no events."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from beacon import errors
from beacon.dev import testkit
from tests.system import load, running


@pytest.fixture(scope="module")
def whole() -> Iterator[running.Everything]:
    with running.everything(changes={"annotation": {"key": load.ANNOTATION, "values": ["true"]}}) as started:
        yield started


def ask(whole: running.Everything, *arguments: str, **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "beacon.cli", "explain", *arguments],
        env=whole.beacon.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def story(whole: running.Everything, *arguments: str) -> dict[str, Any]:
    code, out, err = ask(whole, *arguments, "-o", "json")
    assert (code, err) == (errors.EXIT_OK, "")
    return dict(json.loads(out))


def create(whole: running.Everything, name: str, **annotations: str) -> None:
    metadata = {"name": name, "namespace": "default", "annotations": annotations}
    whole.cluster.create("configmaps", {"metadata": metadata})


def test_a_delivered_object_is_shown_with_its_response_by_name_uid_and_event(whole: running.Everything) -> None:
    create(whole, "delivered", **{load.ANNOTATION: "true"})
    testkit.until(
        lambda: (
            [one["delivery"]["state"] for one in story(whole, "ConfigMap", "default/delivered")["events"]]
            == ["delivered"]
        ),
        "the delivery",
        timeout=20,
    )

    seen = story(whole, "configmap", "default/delivered")

    (event,) = seen["events"]
    assert (event["type"], event["cause"], seen["why"], seen["more"]) == ("created", "object-created", [], False)
    assert [(one["number"], one["status"] // 100) for one in event["attempts"]] == [(1, 2)]
    assert seen["objects"][0]["resourceVersion"] == int(event["resourceVersion"])
    assert story(whole, "cm/delivered", "-n", "default") == seen
    assert seen["objects"][0]["current"] is True
    assert story(whole, event["uid"]) == story(whole, event["id"]) == seen
    _, out, _ = ask(whole, "ConfigMap", "default/delivered")
    assert out.startswith("ConfigMap default/delivered\n")
    assert f"event {event['id']}" in out
    assert "\x1b" not in out


def test_the_reason_for_no_events_is_shown(whole: running.Everything) -> None:
    create(whole, "plain")

    create(whole, "odd", **{load.ANNOTATION: "maybe"})

    why, live = story(whole, "ConfigMap", "default/plain")["why"]
    assert f"it is not annotated with {load.ANNOTATION}" in why
    assert live == f"In the cluster, plain is not annotated with {load.ANNOTATION}."
    _, live = story(whole, "ConfigMap", "default/odd")["why"]
    assert live == "In the cluster, odd has the value 'maybe'; the accepted values are: true."
    _, live = story(whole, "ConfigMap", "default/missing")["why"]
    assert live == "The cluster has no ConfigMap of this name now."
    _, out, _ = ask(whole, "ConfigMap", "default/plain", KUBECONFIG="/nowhere")
    assert "current state could not be read from the cluster" in out
    code, out, err = ask(whole, "secrt", "default/plain")
    assert (code, out) == (errors.EXIT_FAILURE, "")
    assert "no type 'secrt' is known" in err
    (why,) = story(whole, "Secret", "default/plain")["why"]
    assert why == "No scope covers Secret in namespace default: the configuration watches ConfigMap."


def test_wrong_usage_is_reported(whole: running.Everything) -> None:
    assert ask(whole, "nothing-has-this-id")[0] == errors.EXIT_FAILURE
    for arguments, said in (
        (("ConfigMap",), "the name of the ConfigMap is missing"),
        (("ConfigMap", "a/b/c"), "is neither NAMESPACE/NAME"),
    ):
        code, out, err = ask(whole, *arguments)
        assert (code, out) == (2, "")
        assert said in err


def test_during_an_outage_it_shows_the_failed_component_and_the_pending_events(whole: running.Everything) -> None:
    whole.sink.stop()
    for number in range(8):
        create(whole, f"o{number}", **{load.ANNOTATION: "true"})
    whole.cluster.delete("configmaps", "o0", namespace="default")

    def outage_shown() -> bool:
        seen = story(whole, "ConfigMap", "default/o0")
        return len(seen["events"]) == 2 and any("has been down since" in one for one in seen["why"])

    testkit.until(outage_shown, "the outage to be seen", timeout=20)
    seen = story(whole, "ConfigMap", "default/o0")
    first, second = seen["events"]
    assert second["delivery"]["behind"] == first["id"]
    assert f"Event {second['id']} waits for {first['id']}." in seen["why"]
    whole.sink.start()  # the other tests share it


def test_a_stopped_store_is_reported_without_a_hang(whole: running.Everything) -> None:
    whole.beacon.supervisorctl("stop", "store")

    code, out, err = ask(whole, "ConfigMap", "default/delivered")

    assert (code, out) == (errors.EXIT_UNAVAILABLE, "")
    assert len(err.splitlines()) == 1
    whole.beacon.supervisorctl("start", "store")  # the other tests share it
    whole.beacon.wait_ready()
