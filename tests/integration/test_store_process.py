"""The store as supervisord starts it: what it says, what it refuses, and with which exit code."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import bus, codec, errors, wire
from beacon.configuration import settings

CONFIG = """
resources:
  - {apiVersion: v1, kind: ConfigMap}
endpoint:
  url: http://127.0.0.1:9/
  headers: {X-Key: verysecret}
"""


class Place:
    """A short directory with a configuration, where stores can be started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "beacon.yaml"
        self.config.write_text(CONFIG)
        self.data = directory / "data"
        self.data.mkdir()
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "beacon.store"],
            env=os.environ
            | {
                "BEACON_RUN_DIR": str(self.directory),
                "CONFIG_PATH": str(self.config),
                "DB_PATH": str(self.data / "events.db"),
            }
            | environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def client(self) -> bus.Client:
        return bus.Client(bus.address(self.directory / "beacon"), stop=threading.Event())

    def ended(self, **environ: str) -> tuple[int, list[dict[str, str]]]:
        """Start a store that can't, and give its exit code and its lines."""
        process = self.start(**environ)
        out, _ = process.communicate(timeout=100)
        return process.returncode, [codec.decode(line) for line in out.splitlines()]


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="beacon-") as name:
        place = Place(Path(name))
        yield place
        for process in place.started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_its_reply_to_hello_carries_the_configuration(place: Place) -> None:
    place.start()

    with place.client() as client:
        reply = client.call(wire.Hello(process="notifier"))

    assert isinstance(reply, wire.HelloReply)
    assert settings.from_plain(reply.settings).endpoint.url == "http://127.0.0.1:9/"


def test_sigterm_ends_it_with_success_and_an_intact_file(place: Place) -> None:
    process = place.start()
    with place.client() as client:
        client.call(wire.Ping())

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=100) == errors.EXIT_OK
    with sqlite3.connect(place.data / "events.db") as left:
        assert left.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    left.close()


def test_a_second_beacon_on_the_same_volume_is_refused_with_the_reason(place: Place) -> None:
    place.start()
    with place.client() as client:
        client.call(wire.Ping())
    other = place.directory / "other"
    other.mkdir()

    code, lines = place.ended(BEACON_RUN_DIR=str(other))

    assert code == errors.EXIT_TEMPORARY
    assert any("another Beacon uses the database directory" in line.get("reason", "") for line in lines)


def test_a_second_beacon_in_the_same_run_directory_does_not_steal_the_socket(place: Place) -> None:
    place.start()
    with place.client() as client:
        client.call(wire.Ping())
        other = place.directory / "other"
        other.mkdir()

        code, lines = place.ended(DB_PATH=str(other / "events.db"))

        assert code == errors.EXIT_TEMPORARY
        assert any("another Beacon uses the run directory" in line.get("reason", "") for line in lines)
        assert client.call(wire.Ping()) is not None


def test_a_missing_directory_is_named(place: Place) -> None:
    code, lines = place.ended(DB_PATH=str(place.directory / "nowhere" / "events.db"))

    assert code == errors.EXIT_CANNOT_CREATE
    assert any("nowhere" in line.get("reason", "") for line in lines)


def test_a_ledger_of_a_newer_beacon_is_refused(place: Place) -> None:
    with sqlite3.connect(place.data / "events.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()

    code, lines = place.ended()

    assert code == errors.EXIT_CONFIG
    assert any("newer Beacon" in line.get("reason", "") for line in lines)


def test_wrong_configuration_is_printed_problem_by_problem(place: Place) -> None:
    place.config.write_text("resources: []\nendpoint: {url: 'ftp://x', metod: POST}\n")

    code, lines = place.ended()

    problems = [line["problem"] for line in lines if "problem" in line]
    assert code == errors.EXIT_CONFIG
    assert len(problems) >= 3
    assert any("endpoint.metod" in problem and "method" in problem for problem in problems)


def test_a_path_too_long_for_a_socket_is_reported_in_words(place: Place) -> None:
    deep = place.directory / ("d" * 100)
    deep.mkdir()

    code, lines = place.ended(BEACON_RUN_DIR=str(deep))

    assert code == errors.EXIT_CONFIG
    assert any("shorter BEACON_RUN_DIR" in line.get("reason", "") for line in lines)


def test_a_changed_configuration_is_noticed_by_clients_when_the_store_restarts(place: Place) -> None:
    first = place.start()
    with place.client() as client:
        client.call(wire.Inspect())
        first.kill()
        first.wait()
        place.config.write_text(CONFIG.replace("127.0.0.1:9", "127.0.0.1:10"))
        place.start()

        with pytest.raises(bus.SettingsChanged):
            client.call(wire.Inspect())


def test_another_ledger_is_noticed_by_clients_when_the_store_restarts(place: Place) -> None:
    first = place.start()
    with place.client() as client:
        client.call(wire.Inspect())
        first.kill()
        first.wait()
        shutil.rmtree(place.data)
        place.data.mkdir()
        place.start()

        with pytest.raises(bus.LedgerChanged):
            client.call(wire.Inspect())


def test_no_secret_stands_in_the_log(place: Place) -> None:
    process = place.start()
    with place.client() as client:
        client.call(wire.Ping())
    process.send_signal(signal.SIGTERM)

    out, _ = process.communicate(timeout=100)

    assert "verysecret" not in out
