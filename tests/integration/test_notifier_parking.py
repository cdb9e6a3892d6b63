"""Parking with a real store, a notifier process and an endpoint that refuses for a while: nothing is lost.

The endpoint accepts one token. What it accepts is recorded; an event that it refused may come again.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from beacon import wire
from beacon.notifier.delivery import window
from beacon.runtime import run_directory
from tests import run_directories
from tests.integration.test_notifier_endpoints import ServedWorld
from tests.interpreters import relays
from tests.unit.notifier import endpoints, running
from tests.unit.store import world

OBJECTS = [f"o{number}" for number in range(20)]


class Place:
    """A store, an endpoint with a token, and the file from which notifiers read theirs."""

    def __init__(
        self,
        directory: Path,
        *,
        before: Callable[[int], str] | None = None,
        context: ssl.SSLContext | None = None,
        keys: Mapping[str, Any] | None = None,
        **park: Any,
    ) -> None:
        """Make a place; `before` starts a proxy before the endpoint's port, and returns its URL.

        With a `context` the endpoint speaks TLS. `keys` are further ones of the endpoint's configuration.
        """
        self.directory = directory
        self.run_dir = run_directories.made(directory)
        self.token_file = directory / "token"
        self.accepted: list[dict[str, Any]] = []
        self.refusals = 0
        self.checks_token = True
        self.status = 0  # that refuses every request; 0: the token decides
        self.use("first")
        self.token = "first"
        self.endpoint = endpoints.Endpoint(self.answer, context=context)
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": world.ANNOTATION},
            "events": {"updated": True},
            "worker": {"concurrency": 4, "pollInterval": "1s"},
            "endpoint": {
                "url": before(self.endpoint.port) if before else self.endpoint.url,
                "park": park,
                "timeout": "60s",
                **(keys or {}),
            },
        }
        self.store = ServedWorld(directory, self.run_dir, config)
        self.store.open()
        self.store.relist(10)
        self.position = 10
        self.changes = 0

    def use(self, token: str) -> None:
        """Replace the file of the token, as a mounted secret is replaced."""
        new = self.token_file.with_suffix(".new")
        new.write_text(token)
        new.replace(self.token_file)

    def answer(self, request: endpoints.Received, _line: object) -> endpoints.Reply:
        given = {name.lower(): value for name, value in request.headers.items()}.get("authorization")
        if self.status or (self.checks_token and given != f"Bearer {self.token}"):
            self.refusals += 1
            return endpoints.Reply(self.status or 401)
        self.accepted.append(json.loads(request.body))
        return endpoints.Reply()

    def change(self, *names: str) -> None:
        seen = []
        for name in names:
            self.position += 1
            seen.append(world.seen(name, self.position, value=f"v{self.position}"))
        reply = self.store.observe(self.position - len(names), self.position, *seen)
        assert reply.place is wire.ApplyResult.APPLIED, reply
        self.changes += len(names)

    @contextmanager
    def notifier(self) -> Iterator[subprocess.Popen[bytes]]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR")}
        own = {"BEACON_RUN_DIR": str(self.directory), "ENDPOINT_AUTH_TOKEN_FILE": str(self.token_file)}
        process = subprocess.Popen(
            [sys.executable, "-m", "beacon.notifier"], env={**inherited, **own}, stdout=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def statistics(self) -> wire.EndpointStatistics:
        (found,) = self.store.ask(wire.Inspect()).endpoints
        assert isinstance(found, wire.EndpointStatistics)
        return found

    def state(self) -> str:
        reports = run_directory.read_reports(self.run_dir)
        return next((report.state for report in reports if report.component == "endpoint"), "")

    def until_parked(self) -> None:
        running.wait_for(lambda: self.statistics.parked_us > 0)

    def until_delivered(self) -> None:
        running.wait_for(lambda: self.statistics.delivered == self.changes)

    def check(self, *, repeats: int = 0) -> None:
        """Check that everything was accepted, each object's events in order, and nothing twice."""
        found = self.statistics
        assert (found.failed, found.ready, found.queued, found.parked_us) == (0, 0, 0, 0)
        sequences: dict[str, list[int]] = defaultdict(list)
        for event in self.accepted:
            sequences[event["subject"]].append(int(event["sequence"]))
        assert sum(Counter(event["id"] for event in self.accepted).values()) <= self.changes + repeats
        assert len({event["id"] for event in self.accepted}) == self.changes
        for of_object in sequences.values():
            assert list(dict.fromkeys(of_object)) == sorted(set(of_object))


@contextmanager
def made(**options: Any) -> Iterator[Place]:
    """Make a place with the options of `Place`, and remove it."""
    with tempfile.TemporaryDirectory(prefix="bk") as directory:
        place = Place(Path(directory), **options)
        try:
            yield place
        finally:
            place.store.stop()
            place.endpoint.down()


@pytest.mark.parametrize("status", [401, 404])
def test_an_endpoint_that_refuses_for_a_while_loses_nothing_three_times(status: int) -> None:
    with made() as place, place.notifier():
        place.change(*OBJECTS)
        place.until_delivered()
        for _ in range(3):
            place.status = status
            place.change(*OBJECTS)
            place.change(*OBJECTS)
            place.until_parked()
            running.wait_for(lambda: place.state() == "parked")
            place.change("new")
            before = place.refusals
            running.wait_for(lambda least=before: place.refusals > least + 1)  # type: ignore[misc]
            place.status = 0
            place.change(*OBJECTS)
            place.until_delivered()

        place.check()
        running.wait_for(lambda: place.state() == "up")


def test_nothing_is_sent_with_the_placeholder_of_the_examples_until_the_file_is_replaced() -> None:
    with made() as place:
        place.use("replace-me\n")
        place.change("a")
        with place.notifier():
            running.wait_for(lambda: "contains `replace-me`" in str(run_directory.read_reports(place.run_dir)))
            assert (place.refusals, place.accepted) == (0, [])
            place.use("first")
            place.until_delivered()

        assert place.refusals == 0
        place.check()


def test_a_token_that_rotates_on_both_sides_at_different_times_loses_nothing() -> None:
    with made() as place, place.notifier():
        place.change(*OBJECTS)
        place.until_delivered()
        for token in ("second", "third"):
            place.token = token
            place.change(*OBJECTS)
            place.until_parked()
            place.change(*OBJECTS)
            place.use(token)
            place.until_delivered()
            before = place.refusals
            place.use(early := f"{token}-early")
            while place.refusals == before:  # until the notifier has read it
                place.change("a")
                time.sleep(0.1)
            place.change("a", "b", "c", "d")
            place.until_parked()
            place.token = early
            place.until_delivered()

        place.check()


def test_fewer_objects_than_park_an_endpoint_are_restored_when_the_token_changes() -> None:
    with made() as place, place.notifier():
        place.token = "second"
        place.change("a", "b")
        running.wait_for(lambda: place.statistics.failed == 2)
        assert place.statistics.parked_us == 0

        place.use("second")

        place.until_delivered()
        place.check()


def test_beacon_resume_restores_and_sends() -> None:
    with made(maxProbeInterval="1h") as place, place.notifier():
        place.status = 403
        place.change(*(f"x{number}" for number in range(30)))
        place.until_parked()
        place.status = 0

        place.store.ask(wire.ResumeEndpoint(endpoint="default"))

        place.until_delivered()
        place.check()


@pytest.mark.parametrize("killed", ["store", "notifier", "both"])
@pytest.mark.parametrize("moment", ["parking", "probing", "restoring"])
def test_processes_that_end_while_it_is_parked_lose_nothing(killed: str, moment: str) -> None:
    with made() as place:
        with place.notifier() as process:
            place.change(*OBJECTS)
            place.until_delivered()
            place.token = "second"
            place.change(*OBJECTS)
            if moment != "parking":
                place.until_parked()
                before = place.refusals
                running.wait_for(lambda: place.refusals > before)
            if moment == "restoring":
                place.use("second")
                running.wait_for(lambda: place.statistics.delivered > len(OBJECTS))
            if killed != "store":
                process.kill()
                process.wait()
            if killed != "notifier":
                place.store.stop()
                place.store.start()
            if killed == "store":
                place.until_parked() if moment == "parking" else None
                place.use("second")
                place.until_delivered()
        with place.notifier():
            if killed != "store" and moment == "parking":
                place.until_parked()
            place.use("second")
            place.until_delivered()
            # Of a notifier, what the store has not confirmed is repeated (guarantees.md, P5).
            place.check(repeats=0 if killed == "store" else window.of_width(4).most)


@pytest.mark.parametrize("scheme", ["http", "https"])  # a plain request is forwarded, the other one needs a tunnel
def test_a_proxy_that_refuses_its_password_parks_the_endpoint_and_costs_no_event(scheme: str, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    password = tmp_path / "password"
    password.write_text("first")
    with relays.Guarded(username="me", password="first") as proxy:
        way = {"url": f"http://127.0.0.1:{proxy.port}", "username": "me", "passwordFile": str(password)}
        secure = {"tls": {"caFile": str(tmp_path / "ca.pem")}} if scheme == "https" else {}
        with (
            made(
                before=lambda port: f"{scheme}://127.0.0.1:{port}/",
                context=context if scheme == "https" else None,
                keys={"proxy": way, **secure},
            ) as place,
            place.notifier(),
        ):
            place.change(*OBJECTS)
            place.until_delivered()

            proxy.use("second")
            place.change(*OBJECTS)
            place.until_parked()
            assert place.statistics.parked_cause == "proxy-auth"
            password.write_text("second")

            place.until_delivered()
            place.check()
            assert proxy.refusals > 0


def test_parking_that_is_off_is_the_old_table() -> None:
    with made(enabled=False) as place, place.notifier():
        place.status = 401
        place.change(*OBJECTS)
        running.wait_for(lambda: place.statistics.failed == len(OBJECTS))
        place.status = 0
        place.use("other")
        running.wait_for(lambda: place.statistics.failed == len(OBJECTS))
        place.change("a")

        running.wait_for(lambda: place.statistics.delivered + place.statistics.failed == len(OBJECTS) + 1)
        assert (place.statistics.parked_us, place.refusals) == (0, place.statistics.failed)
