"""The notifier as a process: started, stopped, and killed during its work."""

import json
import re
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from beacon import bus, wire
from beacon.configuration import loading, settings
from beacon.domain import model
from beacon.runtime import heartbeat, run_directory
from tests import run_directories
from tests.integration import processes
from tests.unit.notifier import endpoints, running, stores

DELIVERED = model.DeliveryState.DELIVERED
CONFIG = """
resources: [{apiVersion: v1, kind: ConfigMap}]
endpoint:
  url: http://127.0.0.1:1/
  headers: {X-Key: header-secret}
  retry: {initialBackoff: 100ms}
worker: {concurrency: 4}
"""


class Place:
    """A run directory with a store in it, and an endpoint."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run_dir = run_directories.made(directory)
        self.endpoint = endpoints.Endpoint()
        (directory / "config.yaml").write_text(CONFIG)
        environ = {"CONFIG_PATH": str(directory / "config.yaml"), "ENDPOINT_URL": self.endpoint.url}
        self.store = stores.Store(bus.address(self.run_dir))
        self.store.plain = settings.to_plain(loading.load(environ).settings)
        self.store.start()

    def notifier(self, *code: str, **environ: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run the notifier in this world; see `processes.notifier`."""
        return processes.notifier(self.directory, *code, **environ)

    def close(self) -> None:
        self.store.stop()
        self.endpoint.down()


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        made = Place(Path(directory))
        yield made
        made.close()


def state_of(place: Place, component: str) -> str:
    return next(
        (report.state for report in run_directory.read_reports(place.run_dir) if report.component == component), ""
    )


def test_it_delivers_reports_writes_heartbeats_and_settles_everything_at_sigterm(place: Place) -> None:
    place.endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=0.3)
    with place.notifier(ENDPOINT_AUTH_TOKEN="t0ken-1234") as process:
        running.wait_for(lambda: state_of(place, "claim") == "claiming")
        keys = [place.store.add(f"web-{index}")[0] for index in range(4)]
        running.wait_for(lambda: len(place.endpoint.received) == 4)

        beating = {beat.thread for beat in heartbeat.read(run_directory.heartbeats_directory(place.run_dir))}

        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)

    assert process.returncode == 0
    assert beating == {"claims"}
    assert all(place.store.state(key) is DELIVERED for key in keys)
    assert {request.headers["authorization"] for request in place.endpoint.received} == {"Bearer t0ken-1234"}
    assert all(re.fullmatch(r"beacon/\d\S+", request.headers["user-agent"]) for request in place.endpoint.received)
    assert {request.headers["x-key"] for request in place.endpoint.received} == {"header-secret"}
    assert state_of(place, "endpoint") == "up"
    assert "t0ken" not in said
    assert "header-secret" not in said
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert events.count("claiming started") == 1
    assert events[-1] == "ended", said


def test_it_waits_for_a_store_that_is_late(place: Place) -> None:
    place.store.stop()
    place.store.add("web")
    with place.notifier() as process:
        assert process.stdout is not None
        running.wait_for(lambda: "waiting for the store" in (process.stdout.readline() if process.stdout else ""))
        place.store.restart()
        running.wait_for(lambda: place.store.state(1) is DELIVERED)


def test_a_changed_configuration_ends_it_so_that_supervisord_restarts_it(place: Place) -> None:
    with place.notifier() as process:
        running.wait_for(lambda: state_of(place, "claim") == "claiming")
        place.store.stop()
        place.store.settings = "settings-2"
        place.store.restart()

        assert process.wait(timeout=100) == 75


# A notifier that exits at a given request, before sending it or after receiving the answer.
DYING = """
import itertools, os, sys
from beacon.runtime import process
from beacon.notifier import __main__
from beacon.notifier.transport import http_sender

left, after, send = itertools.count(int(sys.argv[1]), -1), sys.argv[2] == "after", http_sender.HttpSender.send

def die(self, *args, done, **options):
    last = next(left) == 0
    if last and not after:
        os._exit(9)
    send(self, *args, done=(lambda _: os._exit(9)) if last else done, **options)

http_sender.HttpSender.send = die
process.run("notifier", __main__.main)
"""


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_around_any_request_repeats_no_more_than_was_under_way(place: Place, number: int, when: str) -> None:
    width = 4
    keys = [key for index in range(3) for key in place.store.add(f"web-{index}", count=2)]
    with place.notifier(DYING, str(number), when) as process:
        assert process.wait(timeout=100) == 9
    with place.notifier():
        running.wait_for(lambda: all(place.store.state(key) is DELIVERED for key in keys))

    received = [json.loads(request.body) for request in place.endpoint.received]
    assert len({event["id"] for event in received}) == len(keys)
    assert len(received) - len(keys) <= width
    for index in range(3):
        of_one = [event["sequence"] for event in received if event["subject"] == f"web-{index}"]
        assert of_one == sorted(of_one)


def test_a_kill_loses_nothing_keeps_order_and_repeats_at_most_the_requests_in_flight(place: Place) -> None:
    place.endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=0.005)
    objects, each, width = 20, 15, 4
    for index in range(objects):
        place.store.add(f"web-{index}", count=each)

    kills = 0
    for answered in (40, 120, 200):
        with place.notifier() as process:
            running.wait_for(lambda goal=answered: len(place.endpoint.received) >= goal)  # type: ignore[misc]
            process.kill()
            process.wait()
            kills += 1
    with place.notifier():
        running.wait_for(lambda: place.store.count(DELIVERED) == objects * each)

    seen = Counter(request.headers["x-beacon-event-id"] for request in place.endpoint.received)
    assert len(seen) == objects * each
    # Requests that were answered and not yet settled durably are repeated, too: at most those of one more claim.
    assert sum(seen.values()) - len(seen) <= kills * 4 * width
    for index in range(objects):
        sequences = [
            json.loads(request.body)["sequence"]
            for request in place.endpoint.received
            if json.loads(request.body)["subject"] == f"web-{index}"
        ]
        assert sequences == sorted(sequences)


# A notifier in which something unexpected happens to one event: when it is rendered, while its connection is served,
# when its settlement is put on the wire, or in the loop itself after that.
FAILING = """
import sys
from beacon.runtime import process
from beacon.notifier import __main__
from beacon.notifier.delivery import claim_session, dispatch, render
from beacon.notifier.transport import response_parser

def fail(*_, **__):
    raise RecursionError("of this event")

envelope, feed, claim = render.envelope, response_parser.ResponseParser.feed, claim_session.ClaimSession.claim
if sys.argv[1] == "rendering":
    render.envelope = lambda one, *rest, **more: (fail if one.name == "web" else envelope)(one, *rest, **more)
elif sys.argv[1] == "serving":
    response_parser.ResponseParser.feed = lambda self, data: fail() if b"web" in data else feed(self, data)
elif sys.argv[1] == "claiming":
    claim_session.ClaimSession.claim = lambda self, wish: fail() if self.outbox else claim(self, wish)
else:
    claim_session.ClaimSession.amend = lambda self, outcome: setattr(dispatch.Dispatcher, "_round", fail)
process.run("notifier", __main__.main)
"""


@pytest.mark.parametrize("at", ["rendering", "serving"])
def test_an_unexpected_error_of_one_event_does_not_hold_up_the_others(place: Place, at: str) -> None:
    place.endpoint.behave = lambda request, _line: endpoints.Reply(200, body=request.subject.encode())
    (bad,) = place.store.add("web")
    goods = [place.store.add(f"good-{number}")[0] for number in range(3)]
    with place.notifier(FAILING, at) as process:
        running.wait_for(lambda: all(place.store.state(key) is DELIVERED for key in goods))
        running.wait_for(lambda: len(place.store.rows[bad].outcomes) >= 2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)

    assert place.store.state(bad) is stores.READY
    assert {outcome.code for outcome in place.store.rows[bad].outcomes} == {"internal"}
    lines = [json.loads(line) for line in said.splitlines()]
    traces = [line["traceback"] for line in lines if line["event"] == "request failed with an error"]
    assert len(traces) >= 2
    assert all("RecursionError: of this event" in trace for trace in traces)


def next_first_claim(place: Place) -> wire.Claim:
    """Start a notifier once more and return its first claim."""
    before = {claim.session for claim in place.store.claims}

    def new() -> list[wire.Claim]:
        return [claim for claim in list(place.store.claims) if claim.session not in before]

    with place.notifier():
        running.wait_for(lambda: bool(new()))
    return new()[0]


def test_an_unexpected_error_that_ends_the_process_leaves_a_mark_of_the_event_in_flight(place: Place) -> None:
    (key,) = place.store.add("web")
    with place.notifier(FAILING, "looping") as process:
        assert process.wait(timeout=100) == 70

    claim = next_first_claim(place)

    assert claim.died_with == (key,)
    assert claim.died


def test_an_endpoint_that_fails_in_its_claims_pauses_and_reports_the_event_like_a_death(place: Place) -> None:
    (key,) = place.store.add("web")
    with place.notifier(FAILING, "claiming") as process:
        running.wait_for(lambda: any(claim.died_with == (key,) for claim in list(place.store.claims)))
        running.wait_for(lambda: len(place.endpoint.received) >= 2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)

    assert process.returncode == 0
    lines = [json.loads(line) for line in said.splitlines()]
    errors = [line for line in lines if line["event"] == "endpoint paused after an error"]
    assert [line["pause_s"] for line in errors[:3]] == [1.0, 2.0, 4.0]
    assert all("RecursionError: of this event" in line["traceback"] for line in errors)


def test_a_kill_leaves_marks_of_events_in_flight_and_not_of_queued_ones(place: Place) -> None:
    place.endpoint.behave = lambda request, _line: endpoints.Reply(delay_s=60.0 if request.subject != "done" else 0.0)
    (done,) = place.store.add("done")
    with place.notifier() as process:
        running.wait_for(lambda: place.store.state(done) is DELIVERED)
        keys = [place.store.add(f"web-{index}")[0] for index in range(20)]
        running.wait_for(lambda: len(place.endpoint.received) == 5)
        process.kill()
        process.wait()
    place.endpoint.behave = lambda _request, _line: endpoints.Reply()

    claim = next_first_claim(place)

    assert len(claim.died_with) == 4
    assert set(claim.died_with) <= set(keys)


def test_a_stop_and_a_changed_configuration_do_not_count_as_deaths(place: Place) -> None:
    place.store.add("web")
    with place.notifier() as process:
        running.wait_for(lambda: place.store.count(DELIVERED) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == 0
    after_stop = next_first_claim(place)
    place.endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=1.0)
    place.store.add("late")
    with place.notifier() as process:
        running.wait_for(lambda: len(place.endpoint.received) == 2)
        place.store.stop()
        place.store.settings = "settings-2"
        place.store.restart()
        assert process.wait(timeout=100) == 75
    after_change = next_first_claim(place)

    assert (after_stop.died_with, after_change.died_with) == ((), ())


def test_a_second_notifier_does_not_count_the_first_as_dead(place: Place) -> None:
    place.endpoint.behave = lambda _request, _line: endpoints.Reply(delay_s=60.0)
    place.store.add("web")
    with place.notifier():
        running.wait_for(lambda: len(place.endpoint.received) == 1)
        first = {claim.session for claim in place.store.claims}
        with place.notifier():
            running.wait_for(lambda: bool({claim.session for claim in place.store.claims} - first))

    assert {claim.died_with for claim in place.store.claims} == {()}
