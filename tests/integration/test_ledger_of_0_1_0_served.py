"""A ledger of 0.1.0 is served by the real store and notifier: nothing delivered is sent again, whatever the names.

`default` is the name of its endpoint. Its open events are named in tests/unit/store/test_ledger_of_0_1_0.py.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from beacon import bus, wire
from beacon.store.ledger import database
from beacon.store.recovery import verification
from tests.unit.notifier import endpoints, running
from tests.unit.store.test_ledger_of_0_1_0 import FILE

OPEN = [("found", "created"), ("retried", "created"), ("retried", "updated"), ("waiting", "created")]
TRACKED = {
    *("delivered", "discarded", "failed", "found", "no-uuid", "reborn", "redelivered", "retried", "updated", "waiting")
}


class Place:
    """A directory with the ledger, and an endpoint for each name."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self.directory = directory
        self.ledger = directory / "events.db"
        self.ledger.write_bytes(gzip.decompress(FILE.read_bytes()))
        self.endpoints = {name: endpoints.Endpoint() for name in names}

    @contextmanager
    def served(self, config: dict[str, Any]) -> Iterator[None]:
        """Run the store and the notifier as supervisord does, until nothing is open and everything is compared."""
        (self.directory / "config.json").write_text(json.dumps(config))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR")} | {
            "BEACON_RUN_DIR": str(self.directory),
            "CONFIG_PATH": str(self.directory / "config.json"),
            "DB_PATH": str(self.ledger),
        }
        processes = [
            subprocess.Popen([sys.executable, "-m", f"beacon.{name}"], env=environ, stdout=subprocess.DEVNULL)
            for name in ("store", "notifier")
        ]
        try:
            with bus.Client(bus.address(self.directory / "beacon"), stop=threading.Event()) as client:
                client.call(wire.Ping())
                running.wait_for(lambda: is_quiet(client.call(wire.Inspect())))
            yield
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()

    def got(self, name: str) -> list[tuple[str, str, int]]:
        """Return what an endpoint received: object, type, `previous`."""
        events = [json.loads(request.body) for request in list(self.endpoints[name].received)]
        return sorted(
            (one["subject"].rpartition("/")[2], one["type"].rpartition(".")[2], int(one["previous"])) for one in events
        )

    def close(self) -> None:
        for one in self.endpoints.values():
            one.down()


def is_quiet(found: wire.Statistics) -> bool:
    live = [one for one in found.endpoints if not one.removed_us]
    return not any(one.catching_up or one.ready or one.waiting or one.queued or one.in_flight for one in live)


@contextmanager
def made(*names: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="be") as directory:
        place = Place(Path(directory), names)
        try:
            yield place
        finally:
            place.close()


COMMON: dict[str, Any] = {
    "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
    "events": {"updated": True},
    "retention": {"enabled": False},
}


def entry(place: Place, name: str) -> dict[str, Any]:
    return {"name": name, "url": place.endpoints[name].url}


def states(place: Place) -> list[tuple[str, bool]]:
    ledger = database.Database.to_read(place.ledger)
    found = ledger.rows("SELECT name, removed_us > 0 FROM endpoints ORDER BY id")
    ledger.close()
    return [(name, bool(removed)) for name, removed in found]


@pytest.mark.parametrize("name", ["default", "another"])
@pytest.mark.parametrize("listed", [False, True])
def test_the_only_endpoint_gets_what_is_open_whatever_its_name(name: str, listed: bool) -> None:
    with made(name) as place:
        config = COMMON | ({"endpoints": [entry(place, name)]} if listed else {"endpoint": entry(place, name)})
        with place.served(config):
            pass
        with place.served(config):
            pass

        assert [one[:2] for one in place.got(name)] == OPEN
        assert states(place) == [(name, False)]
        assert list(verification.findings(place.ledger)) == []


def test_of_several_the_one_that_bears_its_name_goes_on_and_the_others_get_what_exists() -> None:
    with made("first", "default") as place:
        with place.served(COMMON | {"endpoints": [entry(place, "first"), entry(place, "default")]}):
            pass

        assert [one[:2] for one in place.got("default")] == OPEN
        assert place.got("first") == sorted((name, "created", 0) for name in TRACKED)
        assert states(place) == [("default", False), ("first", False)]
        assert list(verification.findings(place.ledger)) == []


def test_if_none_of_several_bears_its_name_its_open_events_stay_with_it() -> None:
    with made("first", "second", "default") as place:
        with place.served(COMMON | {"endpoints": [entry(place, "first"), entry(place, "second")]}):
            pass
        for name in ("first", "second"):
            assert place.got(name) == sorted((one, "created", 0) for one in TRACKED)
        assert states(place) == [("default", True), ("first", False), ("second", False)]

        with place.served(COMMON | {"endpoints": [entry(place, name) for name in ("second", "default", "first")]}):
            pass
        assert [one[:2] for one in place.got("default")] == OPEN
        for name in ("first", "second"):
            assert len(place.got(name)) == len(TRACKED)
        assert list(verification.findings(place.ledger)) == []
