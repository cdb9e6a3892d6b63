"""`beacon events`, `redeliver` and `discard` on a running Beacon."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest

from beacon import errors
from beacon.cli import __main__ as commands
from beacon.dev import testkit
from tests.system import load, running

CONFIG = {
    "endpoint": {"timeout": "5s", "retry": {"maxAttempts": 1, "initialBackoff": "50ms"}},
    "events": {"updated": True},
}


@pytest.fixture(scope="module")
def all_() -> Iterator[running.Everything]:
    with running.everything(changes=CONFIG, environ={"ENDPOINT_AUTH_TOKEN": "of-the-notifier"}) as made:
        yield made


def beacon(all_: running.Everything, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beacon.cli", *arguments]
    return subprocess.run(
        command, env=all_.beacon.environ, input=said, capture_output=True, text=True, check=False, timeout=300
    )


def listed(all_: running.Everything, *arguments: str) -> list[dict[str, Any]]:
    run = beacon(all_, "events", "-o", "json", *arguments)
    assert run.returncode == 0, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def until(condition: Callable[[], object], what: str) -> None:
    testkit.until(condition, what, timeout=30)


def rejected(all_: running.Everything, *names: str) -> None:
    """Make an event of each of these objects fail permanently with 422."""
    all_.sink.set(mode="failure", status=422)
    put(all_, *names)
    until(lambda: {one["object"]["name"] for one in listed(all_, "--state", "failed")} >= set(names), "the rejection")
    all_.sink.set(mode="success")


def put(all_: running.Everything, *names: str, value: str = "x") -> None:
    for name in names:
        metadata = {"name": name, "namespace": "default", "annotations": {load.ANNOTATION: value}}
        all_.cluster.put("configmaps", {"metadata": metadata})


def test_events_shows_the_deliveries_and_their_responses(all_: running.Everything) -> None:
    rejected(all_, "seen-1", "seen-2")
    put(all_, "seen-3")
    until(lambda: listed(all_, "--name", "seen-3", "--state", "delivered"), "the delivery")

    newest = beacon(all_, "events", "-n", "default", "--limit", "2")
    head, first, _ = newest.stdout.splitlines()
    assert head.split()[:3] == ["SEQUENCE", "STATE", "TYPE"]
    assert first.split()[1:5] == ["delivered", "created", "ConfigMap", "default/seen-3"]
    assert "continue with --after" in newest.stderr
    assert "\x1b" not in newest.stdout

    (failed,) = listed(all_, "--name", "seen-1")
    assert (failed["delivery"]["state"], failed["delivery"]["code"]) == ("failed", "422")
    assert failed["id"] in beacon(all_, "events", "--uid", failed["object"]["uid"], "-o", "yaml").stdout
    assert seen(listed(all_, "--oldest-first", "--kind", "ConfigMap")) == ["seen-1", "seen-2", "seen-3"]
    after = str(listed(all_, "--name", "seen-2")[0]["delivery"]["id"])
    assert seen(listed(all_, "--after", after)) == ["seen-1"]
    assert listed(all_, "--until", "1h") == []
    nothing = beacon(all_, "events", "--namespace", "nowhere")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "No events match.\n")


def seen(listing: list[dict[str, Any]]) -> list[str]:
    """Return the names of this test's objects; other tests share the Beacon."""
    return [one["object"]["name"] for one in listing if one["object"]["name"].startswith("seen-")]


def test_after_the_token_is_corrected_one_command_redelivers_the_rejected_events(all_: running.Everything) -> None:
    rejected(all_, "token-1", "token-2", "token-3")
    chosen = ("--state", "failed", "--since", "10m", "--name", "token-1")

    shown = beacon(all_, "redeliver", *chosen, "--dry-run")
    assert shown.stdout.splitlines()[1].split()[4] == "default/token-1"
    assert "1 would be redelivered" in shown.stderr
    refused = beacon(all_, "redeliver", "--state", "failed", said="n\n")
    assert (refused.returncode, listed(all_, "--name", "token-1")[0]["delivery"]["generation"]) == (1, 0)

    ids = [listed(all_, "--name", name)[0]["id"] for name in ("token-1", "token-2")]
    done = beacon(all_, "redeliver", *ids, "--yes")
    assert (done.returncode, done.stdout) == (0, "2 redelivered, 0 refused\n")
    rest = beacon(all_, "redeliver", "--since", "10m", "--kind", "ConfigMap", said="y\n")
    assert (rest.returncode, "redelivered, 0 refused" in rest.stdout) == (0, True)

    until(lambda: not listed(all_, "--state", "failed"), "all to be delivered")
    accepted = [each.event for each in all_.sink.events() if each.event and each.event.id == ids[0]]
    assert [event.redelivered for event in accepted] == [True]
    assert all_.sink.stats().order_violations == 0


def test_redelivery_of_a_superseded_event_is_refused_unless_requested_out_of_order(all_: running.Everything) -> None:
    rejected(all_, "late")
    put(all_, "late", value="newer")
    until(lambda: listed(all_, "--name", "late", "--state", "delivered"), "the later one")
    (late,) = listed(all_, "--name", "late", "--state", "failed")

    refused = beacon(all_, "redeliver", late["id"])
    assert refused.returncode == 1
    assert "1 refused" not in refused.stdout.splitlines()[1]
    assert f"{late['id']}: a later event of the object has been delivered" in refused.stdout

    assert beacon(all_, "redeliver", "--out-of-order", late["id"]).returncode == 0
    until(lambda: not listed(all_, "--name", "late", "--state", "failed"), "the delivery")
    redeliveries = "beacon_redeliveries_total"
    until(lambda: testkit.sample(all_.beacon.metrics(), redeliveries, endpoint="default") >= 1, "the metric")
    body = [each.request.body for each in all_.sink.events() if each.event and each.event.id == late["id"]][-1]
    assert json.loads(body)["outoforder"] is True


def test_a_discarded_delivery_no_longer_counts_as_failed_and_keeps_its_reason(all_: running.Everything) -> None:
    rejected(all_, "billed")
    (failed,) = listed(all_, "--name", "billed")
    before = len(listed(all_, "--state", "failed"))
    until(lambda: testkit.sample(all_.beacon.metrics(), "beacon_deliveries_failed") == before, "the failure's metric")

    done = beacon(all_, "discard", "--reason", "billed by hand", failed["id"], "-o", "json")

    assert (done.returncode, json.loads(done.stdout)) == (0, {"done": 1, "refused": []})
    until(lambda: all_.beacon.logged("deliveries discarded"), "the log line")
    (line,) = all_.beacon.logged("deliveries discarded")
    assert (line["number"], line["reason"]) == (1, "billed by hand")
    assert f"uid {os.getuid()}" in line["actor"]
    story = json.loads(beacon(all_, "explain", failed["id"], "-o", "json").stdout)["events"][0]
    assert [(each["action"], each["actor"]) for each in story["actions"]] == [("discarded", line["actor"])]
    assert f"discarded by {line['actor']}: billed by hand" in beacon(all_, "explain", failed["id"]).stdout
    assert listed(all_, "--name", "billed")[0]["delivery"]["reason"] == "billed by hand"
    until(
        lambda: (
            testkit.sample(all_.beacon.metrics(), "beacon_deliveries_total", outcome="discarded") == 1
            and testkit.sample(all_.beacon.metrics(), "beacon_deliveries_failed") == before - 1
        ),
        "the metrics",
    )
    unknown = beacon(all_, "discard", "--reason", "x", "no-such-id")
    assert (unknown.returncode, unknown.stderr) == (1, "no selected event has the id no-such-id\n")


def test_tail_follows_until_ctrl_c_or_a_closed_pipe(all_: running.Everything) -> None:
    command = [sys.executable, "-m", "beacon.cli", "tail", "--kind", "ConfigMap"]
    for form, end in (("json", "ctrl-c"), ("text", "pipe")):
        with subprocess.Popen(
            [*command, "-o", form], env=all_.beacon.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout is not None
            assert follower.stderr is not None
            stop = threading.Event()
            changing = threading.Thread(target=change_until, args=(all_, f"tailed-{form}", stop))
            changing.start()
            lines = lines_of(follower.stdout, form)
            if end == "ctrl-c":
                follower.send_signal(signal.SIGINT)
            else:
                follower.stdout.close()
            code = follower.wait(300)
            said = follower.stderr.read()
            stop.set()
            changing.join()
        assert (code, said) == (0, "")
        if form == "json":
            entries = [json.loads(line) for line in lines]
            assert {one["what"] for one in entries} == {"event", "request"}
            assert {one["object"]["name"] for one in entries} == {"tailed-json"}
            assert {one["code"] for one in entries if one["what"] == "request"} == {"200"}
        else:
            assert lines
            assert all("ConfigMap default/tailed-text" in line for line in lines)


def lines_of(tail: IO[str], form: str) -> list[str]:
    """Read at least four lines about the object of this form; of JSON, until events and requests were among them."""
    lines: list[str] = []
    while len(lines) < 4 or (form == "json" and len({json.loads(line)["what"] for line in lines}) < 2):
        line = tail.readline()
        lines += [line] if f"tailed-{form}" in line else []
        assert line, "it has ended"
    return lines


def change_until(all_: running.Everything, name: str, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(0.1):
        number += 1
        put(all_, name, value=str(number))


def test_status_can_be_watched(all_: running.Everything) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "beacon.cli", "status", "--watch"],
        env=all_.beacon.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        shown = 0
        while shown < 2:
            shown += watching.stdout.readline() == "processes\n"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(300) in (0, 1)
    assert "--watch is for terminals" in beacon(all_, "status", "--watch", "-o", "json").stderr


def test_test_event_reports_the_response_of_the_endpoint(all_: running.Everything) -> None:
    before = len(listed(all_))
    callers = all_.beacon.environ | {"ENDPOINT_AUTH_TOKEN": "of-the-caller", "HTTP_PROXY": "http://127.0.0.1:9/"}
    command = [sys.executable, "-m", "beacon.cli", "test-event"]
    accepted = subprocess.run(command, env=callers, capture_output=True, text=True, check=False, timeout=40)
    headers = dict(all_.sink.events()[-1].request.headers)
    assert headers[b"authorization"] == b"Bearer of-the-notifier"
    assert (accepted.returncode, accepted.stdout[:13]) == (0, "Accepted: 200")
    body = json.loads(all_.sink.events()[-1].request.body)
    assert (body["type"].rpartition(".")[2], body["test"]) == ("test", True)

    said = {}
    behaviours: dict[str, dict[str, Any]] = {
        "401": {"mode": "failure", "status": 401},
        "302": {"mode": "failure", "status": 302, "location": "https://elsewhere.example/"},
        "timeout": {"mode": "hang"},
        "500": {"mode": "failure", "status": 500},
    }
    for name, behaviour in behaviours.items():
        all_.sink.set(**behaviour)
        run = beacon(all_, "test-event")
        assert run.returncode == 1
        assert run.stdout.startswith(f"Rejected: {name} after ")
        said[name] = run.stdout
    all_.sink.set(mode="success")
    assert "The token is missing or unknown" in said["401"]
    assert "redirect to https://elsewhere.example/ not followed" in said["302"]
    assert "No complete response within endpoint.timeout" in said["timeout"]
    assert "reports an internal error" in said["500"]

    all_.sink.stop()
    refused = beacon(all_, "test-event", "-o", "json")
    all_.sink.start()
    assert json.loads(refused.stdout)["code"] == "network"
    assert "refused" in json.loads(refused.stdout)["error"].lower()
    assert len(listed(all_)) == before

    all_.beacon.supervisorctl("stop", "notifier")
    unanswered = beacon(all_, "test-event")
    all_.beacon.supervisorctl("start", "notifier")
    all_.beacon.wait_ready()
    assert (unanswered.returncode, unanswered.stderr) == (
        errors.EXIT_UNAVAILABLE,
        "the notifier does not answer: see beacon status\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("redeliver",), "name events by their ids, or select them with filters"),
        (("discard", "--state", "failed"), "missing option '--reason'"),
        (("discard", "--reason", " ", "x"), "--reason is empty"),
        (("events", "--state", "faild"), "'faild' is not one of"),
        (("events", "--since", "yesterday"), "neither an instant"),
        (("evnts",), "no such command 'evnts': did you mean 'events'?"),
        (("status", "--wach"), "no such option"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(all_: running.Everything, arguments: tuple[str, ...], said: str) -> None:
    run = beacon(all_, *arguments)

    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert said in run.stderr


def test_the_help_of_every_command_has_examples_and_exit_codes(all_: running.Everything) -> None:
    for command in commands.NAMES:
        text = beacon(all_, command, "--help").stdout

        assert f"  beacon {command}" in text.split("Examples:")[1]
        assert "Exit codes" in text


def test_a_stopped_store_is_reported(all_: running.Everything, tmp_path: Any) -> None:
    environ = {**all_.beacon.environ, "BEACON_RUN_DIR": str(tmp_path)}
    for arguments in (
        ["events"],
        ["tail"],
        ["test-event"],
        ["redeliver", "0b5e"],
        ["discard", "--reason", "r", "0b5e"],
    ):
        run = subprocess.run(
            [sys.executable, "-m", "beacon.cli", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert run.returncode == errors.EXIT_UNAVAILABLE
        assert "store" in run.stderr
