"""`beacon events` as a person runs it: beginnings of ids, kinds in any spelling, wide tables, and `--watch`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from beacon import errors, wire
from beacon.domain import model
from tests.integration.test_cli_ledger import beacon, ledger_with_events, served
from tests.integration.test_store_process import Place, place  # noqa: F401  a fixture
from tests.unit.store import world


@contextmanager
def watching(place: Place, *options: str) -> Iterator["subprocess.Popen[str]"]:  # noqa: F811
    command = [sys.executable, "-m", "beacon.cli", "events", "--watch", *options]
    environ = os.environ | {"BEACON_RUN_DIR": str(place.directory)}
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_event(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def emit(place: Place, at: int, name: str) -> None:  # noqa: F811
    """Record an event as the watcher does."""
    scope = world.scope_of()
    with place.client() as client:
        opened = client.call(
            wire.OpenStream(scope=scope.id, label="configmaps", fingerprint=scope.fingerprint, nonce=name, cluster="c")
        )
        seen = world.seen(name, at + 1, model.ChangeKind.ADDED)
        request = wire.Observe(
            scope=scope.id,
            session=opened.session,
            epoch=opened.epoch,
            prev=opened.cursor,
            position=at + 1,
            tracked_version=opened.tracked_version,
            fingerprint=scope.fingerprint,
            api_version="v1",
            observations=(seen,),
        )
        reply = client.call(request)
        assert reply.place is wire.ApplyResult.APPLIED, reply


@pytest.fixture
def place_with_events(place: Place) -> Place:  # noqa: F811
    ledger_with_events(place.data / "events.db").ledger.close()
    served(place)
    return place


def test_new_events_are_followed_across_a_kill_of_the_store_until_ctrl_c(place_with_events: Place) -> None:
    here = place_with_events
    with watching(here, "-o", "json") as process:
        assert [next_event(process)["object"]["name"] for _ in range(3)] == ["a", "b", "a"]
        emit(here, 11, "c")
        assert next_event(process)["object"]["name"] == "c"

        here.started[0].kill()
        here.started[0].wait()
        here.start()
        emit(here, 12, "d")

        found = next_event(process)
        assert (found["object"]["name"], found["delivery"]["endpoint"]) == ("d", "default")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (errors.EXIT_OK, "")
    assert "Traceback" not in err


def test_a_watch_in_a_table_has_the_columns_of_the_list(place_with_events: Place) -> None:
    here = place_with_events
    listed = beacon(here, "events", "--oldest-first", "--kind", "cm")
    with watching(here, "--kind", "cm") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(4)] == [f"{line}\n" for line in listed.stdout.splitlines()]


def test_a_watch_that_is_not_read_any_more_ends(place_with_events: Place) -> None:
    here = place_with_events
    with watching(here, "-o", "json") as process:
        next_event(process)
        assert process.stdout is not None
        process.stdout.close()
        emit(here, 11, "c")

        assert process.wait(60) == errors.EXIT_OK


def test_the_beginning_of_an_id_suffices(place_with_events: Place) -> None:
    here = place_with_events
    (first, *_) = json.loads(beacon(here, "events", "-o", "json").stdout)

    by_uid = json.loads(beacon(here, "events", "--uid", "uid-b", "-o", "json").stdout)
    explained = json.loads(beacon(here, "explain", first["id"][:8].upper(), "-o", "json").stdout)
    redelivered = beacon(here, "redeliver", first["id"][:8], "--dry-run")

    assert [one["object"]["name"] for one in by_uid] == ["b"]
    assert first["id"] in [one["id"] for one in explained["events"]]
    assert first["id"] in redelivered.stdout
    assert redelivered.returncode == errors.EXIT_OK


@pytest.mark.parametrize("kind", ["cm", "CONFIGMAPS", "configmap", "ConfigMap"])
def test_a_kind_is_taken_in_every_spelling(place_with_events: Place, kind: str) -> None:
    found = beacon(place_with_events, "events", "--kind", kind, "-o", "json")

    assert len(json.loads(found.stdout)) == 3


def test_a_wide_table_has_the_endpoint_and_the_uid(place_with_events: Place) -> None:
    head, *rows = beacon(place_with_events, "events", "-o", "wide").stdout.splitlines()

    narrow, *_ = beacon(place_with_events, "events").stdout.splitlines()
    assert head.startswith(narrow)
    assert {"ENDPOINT", "UID"} <= set(head.split())
    assert all(" default " in row and " uid-" in row for row in rows)
