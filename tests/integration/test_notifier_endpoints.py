"""Several endpoints of one notifier process and a real store: each is served as if it were alone."""

import json
import signal
import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from beacon import bus, wire
from beacon.bus import bus_server
from beacon.configuration import loading, settings
from beacon.runtime import run_directory
from beacon.store import wiring
from beacon.store.ledger import database
from beacon.store.server import daemon, service
from beacon.store.verbs import suspects
from tests import run_directories
from tests.integration import processes
from tests.interpreters import relays
from tests.unit.notifier import endpoints, running
from tests.unit.store import world

NAMES = ("one", "two", "three")


class ServedWorld(world.World):
    """A store that serves its socket in a thread."""

    def __init__(self, directory: Path, run_dir: Path, config: Mapping[str, Any]) -> None:
        (directory / "config.json").write_text(json.dumps(config))
        self.where = bus.address(run_dir)
        self.tree = loading.load({"CONFIG_PATH": str(directory / "config.json")}).settings
        self.config = wiring.ledger_config_of(self.tree)
        super().__init__(directory / "e.db", *self.config.scopes, endpoints_=self.config.endpoints)

    def start(self) -> None:
        self._stop, ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(60)

    def _serve(self, ready: threading.Event) -> None:
        with bus_server.BusServer(self.where) as server:
            ledger = database.Database(self.path)
            served = service.StoreService(
                ledger, self.config, settings=settings.to_plain(self.tree), digest=settings.digest(self.tree)
            )
            ready.set()
            loop = daemon.Daemon(server, served, service.ServiceListener())
            loop.serve(stop=self._stop, beat=lambda: None)
            ledger.close()

    def ask(self, request: wire.AnyRequest) -> Any:
        with bus.Client(self.where, stop=self._stop) as client:
            client.call(wire.Ping())
            return client.call(request)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def states(self, name: str) -> Counter[str]:
        """Return the number of an endpoint's deliveries by state."""
        (found,) = [one for one in self.ask(wire.Inspect()).endpoints if one.endpoint == name]
        open_ = found.ready + found.waiting + found.queued + found.in_flight
        return Counter(delivered=found.delivered, failed=found.failed, open=open_)


class Place:
    """A run directory with a store in it, and three endpoints."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.directory = directory
        self.run_dir = run_directories.made(directory)
        self.endpoints = {name: endpoints.Endpoint() for name in NAMES}
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": world.ANNOTATION},
            "events": {"updated": True},
            "worker": {"concurrency": 4},
            "endpoints": [
                {
                    "name": name,
                    "url": one.url,
                    "retry": {"initialBackoff": "100ms", "maxBackoff": "500ms", "maxAttempts": 0},
                    "breaker": {"probeInterval": "200ms"},
                    "timeout": "60s",
                    **changes.get(name, {}),
                }
                for name, one in self.endpoints.items()
            ],
        }
        self.store = ServedWorld(directory, self.run_dir, config)
        self.store.open()
        self.store.relist(10)
        self.position = 10
        self.sequences: dict[str, int] = defaultdict(int)

    def change(self, *names: str) -> None:
        """Commit one change of each object: its creation, later another value."""
        seen = []
        for name in names:
            self.position += 1
            self.sequences[name] += 1
            seen.append(world.seen(name, self.position, value=f"v{self.position}"))
        reply = self.store.observe(self.position - len(names), self.position, *seen)
        assert reply.place is wire.ApplyResult.APPLIED, reply

    def notifier(self, *code: str, **environ: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run the notifier in this world; see `processes.notifier`."""
        return processes.notifier(self.directory, *code, **environ)

    def state_of(self, name: str, component: str = "endpoint") -> str:
        return next(
            (
                report.state
                for report in run_directory.read_reports(self.run_dir)
                if (report.component, report.fields.get("endpoint")) == (component, name)
            ),
            "",
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in list(self.endpoints[name].received)]

    def check(self, name: str) -> None:
        """Check that an endpoint got every change, per object in order and with an unbroken chain."""
        by_object: dict[str, list[dict[str, Any]]] = defaultdict(list)
        seen: set[str] = set()
        for event in self.events(name):
            if event["id"] not in seen:
                seen.add(event["id"])
                by_object[event["subject"]].append(event)
        assert {object_: len(found) for object_, found in by_object.items()} == self.sequences
        for found in by_object.values():
            sequences = [int(event["sequence"]) for event in found]
            assert sequences == sorted(sequences)
            assert [int(event["previous"]) for event in found] == [0, *sequences[:-1]]

    def close(self) -> None:
        self.store.stop()
        for one in self.endpoints.values():
            one.down()


@contextmanager
def made(**changes: Any) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="be") as directory:
        place = Place(Path(directory), **changes)
        try:
            yield place
        finally:
            place.close()


def refusing(_request: endpoints.Received, _line: object) -> endpoints.Reply:
    return endpoints.Reply(503)


def accepting(_request: endpoints.Received, _line: object) -> endpoints.Reply:
    return endpoints.Reply()


def hanging(let_go: threading.Event) -> Callable[[endpoints.Received, object], endpoints.Reply]:
    def behave(_request: endpoints.Received, _line: object) -> endpoints.Reply:
        let_go.wait(600)
        return endpoints.Reply(503)

    return behave


def test_endpoints_that_are_down_or_hang_hold_up_none_of_the_others() -> None:
    objects = [f"o{number}" for number in range(12)]
    let_go = threading.Event()
    with made() as place, place.notifier() as process:
        place.endpoints["two"].down()
        place.endpoints["three"].behave = hanging(let_go)
        for _ in range(5):
            place.change(*objects)
        running.wait_for(lambda: place.store.states("one")["delivered"] == 60)

        place.check("one")
        running.wait_for(lambda: place.state_of("two") == "down")
        assert place.store.states("two") == Counter(open=60)
        assert place.store.states("three") == Counter(open=60)
        assert len(place.endpoints["three"].received) == 4, "its concurrency"
        assert place.state_of("one") == "up"
        assert {place.state_of(name, "claim") for name in NAMES} == {"claiming"}

        place.endpoints["two"].up()
        place.endpoints["three"].behave = accepting
        let_go.set()
        for name in ("two", "three"):
            running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 60)  # type: ignore[misc]
            place.check(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == 0


def test_each_endpoint_has_its_own_concurrency_and_breaker() -> None:
    let_go = threading.Event()
    with made(one={"concurrency": 2}, two={"concurrency": 7}, three={"concurrency": 1}) as place, place.notifier():
        for one in place.endpoints.values():
            one.behave = hanging(let_go)
        place.change(*(f"o{number}" for number in range(20)))

        widths = {"one": 2, "two": 7, "three": 1}
        running.wait_for(
            lambda: {name: one.in_flight for name, one in place.endpoints.items()} == widths,
        )
        place.endpoints["one"].behave = refusing
        for name in ("two", "three"):
            place.endpoints[name].behave = accepting
        let_go.set()
        for name in ("two", "three"):
            running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 20)  # type: ignore[misc]
        running.wait_for(lambda: place.state_of("one") == "down")
        assert {place.endpoints[name].most_in_flight for name in ("one", "three")} <= {1, 2, 3}, "beside a probe"
        assert place.state_of("two") == place.state_of("three") == "up"


def test_each_endpoint_is_reached_by_its_own_proxy_and_one_without_a_password_holds_up_only_itself(
    tmp_path: Path,
) -> None:
    password, missing = tmp_path / "password", tmp_path / "missing"
    password.write_text("hunter2 of one\n")
    with relays.Socks5(username="me", password="hunter2 of one") as one, relays.Socks5() as two:
        proxies = {
            "one": {"url": f"socks5://127.0.0.1:{one.port}", "username": "me", "passwordFile": str(password)},
            "two": {"url": f"socks5://127.0.0.1:{two.port}", "username": "me", "passwordFile": str(missing)},
            "three": "none",
        }
        changes = {name: {"proxy": proxy} for name, proxy in proxies.items()}
        with made(**changes) as place, place.notifier() as process:
            place.change("a", "b", "c")
            for name in ("one", "three"):
                running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 3)  # type: ignore[misc]
                place.check(name)
            running.wait_for(lambda: place.state_of("two") == "down")
            assert {target[1] for target in one.targets} == {place.endpoints["one"].port}
            assert two.targets == []
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=100)

    lines = [json.loads(line) for line in said.splitlines()]
    (rejected,) = [line for line in lines if line["event"] == "proxy password rejected"]
    assert rejected["endpoint"] == "two"
    assert rejected["problem"] == f"proxy.passwordFile {missing} can't be read: No such file or directory"
    assert "hunter2" not in said


# A notifier in which something unexpected happens while the endpoint "two" is served: in its breaker, when an answer is
# processed, or in its sender.
FAILING = """
import sys
from beacon.runtime import process
from beacon.notifier import __main__
from beacon.notifier.delivery import endpoint

def fail():
    raise RecursionError("of this endpoint")

def broken(method):
    return lambda self, *rest, **more: fail() if self.name == "two" else method(self, *rest, **more)

if sys.argv[1] == "claiming":
    endpoint.EndpointDelivery.next_claim = broken(endpoint.EndpointDelivery.next_claim)
elif sys.argv[1] == "replying":
    endpoint.EndpointDelivery.take_reply = broken(endpoint.EndpointDelivery.take_reply)
else:
    endpoint.EndpointDelivery._answered = broken(endpoint.EndpointDelivery._answered)
process.run("notifier", __main__.main)
"""


@pytest.mark.parametrize("at", ["claiming", "replying", "answering"])
def test_an_unexpected_error_while_one_endpoint_is_served_stays_with_it(at: str) -> None:
    objects = [f"o{number}" for number in range(5)]
    with made() as place, place.notifier(FAILING, at) as process:
        for _ in range(4):
            place.change(*objects)
        for name in ("one", "three"):
            running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 20)  # type: ignore[misc]
            place.check(name)
        running.wait_for(lambda: place.state_of("two") == "faulty")
        place.change(*objects)
        for name in ("one", "three"):
            running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 25)  # type: ignore[misc]
        assert process.poll() is None
        assert place.store.states("two") == Counter(open=25)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)

        lines = [json.loads(line) for line in said.splitlines()]
        assert {line["endpoint"] for line in lines if line["event"] == "endpoint paused after an error"} == {"two"}
        with place.notifier():
            running.wait_for(lambda: place.store.states("two")["delivered"] == 25)
        place.check("two")


# A notifier in which the name of endpoint "two" is never resolved: the lookup hangs, or the thread that waits for it.
UNRESOLVED = """
import socket, sys, threading
from beacon.runtime import process
from beacon.notifier import __main__
from beacon.notifier.transport import connection, connector

def hanging(method, position):
    def call(*words, **more):
        if words[position] == "hangs.example":
            threading.Event().wait()
        return method(*words, **more)
    return call

if sys.argv[1] == "lookup":
    socket.getaddrinfo = hanging(socket.getaddrinfo, 0)
else:
    connection.Resolver.resolve = hanging(connection.Resolver.resolve, 1)
    connector._GRACE_S = 0.0
process.run("notifier", __main__.main)
"""


@pytest.mark.parametrize("what", ["lookup", "thread"])
def test_a_name_that_is_never_resolved_holds_up_only_its_endpoint(what: str) -> None:
    change = {"url": "http://hangs.example/", "timeout": "300ms"}
    with made(two=change) as place, place.notifier(UNRESOLVED, what) as process:
        for number in range(20):
            place.change(*(f"o{number}-{one}" for one in range(3)))
        running.wait_for(lambda: place.state_of("two") == "down")
        beats = run_directory.heartbeats_directory(place.run_dir)
        (heartbeat,) = [one for one in beats.iterdir() if "claims" in one.name]
        before = heartbeat.read_bytes(), heartbeat.stat().st_mtime_ns
        for number in range(20):
            place.change(f"o{number}-0")
        for name in ("one", "three"):
            running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 80)  # type: ignore[misc]
            place.check(name)
        running.wait_for(lambda: (heartbeat.read_bytes(), heartbeat.stat().st_mtime_ns) != before)
        assert place.state_of("one") == place.state_of("three") == "up"
        assert place.store.states("two") == Counter(open=80)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == 0


def test_a_kill_repeats_only_what_was_in_flight_at_each_endpoint() -> None:
    objects = [f"o{number}" for number in range(12)]
    with made() as place:
        let_go = threading.Event()
        for _ in range(3):
            place.change(*objects[:5])
        with place.notifier() as process:
            for name in NAMES:
                running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 15)  # type: ignore[misc]
                place.endpoints[name].behave = hanging(let_go)
            place.change(*objects)
            for name in NAMES:
                running.wait_for(lambda one=name: place.endpoints[one].in_flight == 4)  # type: ignore[misc]
            process.kill()
            process.wait()
        in_flight = {name: {event["id"] for event in place.events(name)[15:]} for name in NAMES}
        for one in place.endpoints.values():
            one.behave = accepting
            one.drop()
        let_go.set()
        with place.notifier() as process:
            for name in NAMES:
                running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 27)  # type: ignore[misc]

        for name in NAMES:
            repeated = {one for one, times in Counter(e["id"] for e in place.events(name)).items() if times > 1}
            assert repeated <= in_flight[name]
            assert len(in_flight[name]) == 4
            place.check(name)


def test_deaths_count_against_the_events_that_were_in_flight_at_their_endpoint() -> None:
    with made() as place:
        let_go, two = threading.Event(), place.endpoints["two"]
        two.behave = hanging(let_go)
        place.change("web")
        for death in range(1, suspects.SUSPECTED_AFTER + 1):
            with place.notifier() as process:
                running.wait_for(lambda number=death: len(two.received) == number)  # type: ignore[misc]
                for name in ("one", "three"):
                    running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 1)  # type: ignore[misc]
                process.kill()
                process.wait()
        with place.notifier():
            running.wait_for(lambda: suspected(place) == {"one": 0, "two": 1, "three": 0})
        let_go.set()


def suspected(place: Place) -> dict[str, int]:
    return {one.endpoint: one.suspected for one in place.store.ask(wire.Inspect()).endpoints}


def test_credentials_that_fail_hold_up_only_their_endpoint_and_lose_no_event(tmp_path: Path) -> None:
    broken = {"one": endpoints.Reply(401, b'{"error": "invalid_client"}'), "three": endpoints.Reply(503)}
    secret, missing = tmp_path / "secret", tmp_path / "missing"
    secret.write_text("s3cret")

    def issuing(name: str) -> Callable[[endpoints.Received, object], endpoints.Reply]:
        issued = endpoints.Reply(200, json.dumps({"access_token": "t0ken", "expires_in": 2}).encode())
        return lambda _request, _line: broken.get(name, issued)

    logins = {name: endpoints.Endpoint(issuing(name)) for name in broken}
    changes = {
        name: {"auth": {"oauth2": {"tokenURL": one.url, "clientID": "me", "clientSecretFile": str(secret)}}}
        for name, one in logins.items()
    }
    with made(**changes, two={"auth": {"bearer": {"tokenFile": str(missing)}}}) as place, place.notifier():
        place.change("a", "b", "c", "d")
        running.wait_for(lambda: place.state_of("one") == "parked")
        running.wait_for(lambda: place.state_of("two", "claim").startswith("held back: auth.bearer.tokenFile"))
        running.wait_for(lambda: place.state_of("three") == "down")
        assert [one.connections for one in place.endpoints.values()] == [0, 0, 0]

        broken.clear()
        missing.write_text("t0ken")
        for name in NAMES:
            running.wait_for(lambda one=name: place.store.states(one)["delivered"] == 4)  # type: ignore[misc]
        for number in range(5, 9):  # beyond the life of the tokens
            place.change("a", "b", "c", "d")
            for name in NAMES:
                running.wait_for(lambda one=name, all_=4 * (number - 3): place.store.states(one)["delivered"] == all_)  # type: ignore[misc]
        for name in NAMES:
            place.check(name)
            assert {one.headers["authorization"] for one in place.endpoints[name].received} == {"Bearer t0ken"}
    for login in logins.values():
        login.down()
