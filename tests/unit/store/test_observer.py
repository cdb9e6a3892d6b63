"""The store's log: each change once, repetitions counted."""

import time
from pathlib import Path
from typing import Any

import pytest

from beacon import codec, errors, wire
from beacon.domain import model
from beacon.runtime import log, metrics
from beacon.store.ledger import copying, database
from beacon.store.server import observer
from beacon.store.verbs import actions, redelivery, suspects
from tests.unit import volumes
from tests.unit.store import world
from tests.unit.store.test_compare import Comparison
from tests.unit.store.world import seen


@pytest.fixture
def heard(capfd: pytest.CaptureFixture[str]) -> Any:
    """Return the log lines since the last call: (event, fields)."""
    log.configure("store")

    def listen() -> list[dict[str, Any]]:
        return [codec.decode(line) for line in capfd.readouterr().out.splitlines()]

    return listen


def test_a_repeated_refusal_is_logged_once_and_counted_at_its_end(heard: Any) -> None:
    watched = observer.Observer()
    for _ in range(3):
        watched.failed("observe", database.RequestError("no such scope"))
    watched.applied("claim", 0.001)
    (said,) = heard()
    assert (said["event"], said["level"], said["verb"], said["kind"]) == (
        "request refused",
        "warning",
        "observe",
        "constraint",
    )

    watched.applied("observe", 0.001)
    watched.applied("observe", 0.001)

    (over,) = heard()
    assert (over["event"], over["verb"], over["refused"]) == ("requests accepted again", "observe", 3)
    watched.failed("observe", errors.PermanentError("again"))
    assert [line["event"] for line in heard()] == ["request refused"]


@pytest.fixture
def one(tmp_path: Path) -> world.World:
    made = world.World(tmp_path / "e.db", updates=True)
    made.service._listener = observer.Observer()
    made.open()
    made.relist(10, seen("a", 5))
    made.observe(10, 20)
    return made


def drifts(lines: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    found = [line for line in lines if line["event"] == "drift found"]
    return [(line["missed_creations"], line["missed_updates"], line["missed_deletions"]) for line in found]


def test_what_a_comparison_found_is_one_line_at_its_end(one: world.World, heard: Any) -> None:
    one.service._listener = observer.Observer()

    Comparison(one, 20, seen("b", 15)).run()
    Comparison(one, 20, seen("b", 15), nonce="m").run()

    assert drifts(heard()) == [(1, 0, 1)]


def test_the_drift_of_an_abandoned_comparison_is_logged_when_the_next_one_starts(one: world.World, heard: Any) -> None:
    one.service._listener = observer.Observer()
    died = Comparison(one, 20, seen("a", 5), seen("b", 15))
    died.ask(died.open, died.begin, died.page)
    assert drifts(heard()) == []

    Comparison(one, 20, seen("a", 5), seen("b", 15), nonce="m").run()

    assert drifts(heard()) == [(1, 0, 0)]


def test_a_delivery_that_is_suspected_is_logged_with_its_object(heard: Any) -> None:
    one = suspects.Suspected(delivery=4, deaths=3, pause_s=5.0, event="e-1", kind="Pod", namespace="ns", name="web")

    observer.Observer().committed(requests=1, seconds=0.001, notes=[one])

    (said,) = heard()
    assert (said["event"], said["level"], said["id"], said["event_id"]) == ("delivery suspected", "warning", 4, "e-1")
    assert (said["kind"], said["namespace"], said["name"], said["notifier_deaths"]) == ("Pod", "ns", "web", 3)


DATABASE_ERRORS = {
    "full": database.FullError("no free space"),
    "busy": database.BusyError("in use"),
    "corrupt": database.DamagedError("damaged"),
    "constraint": database.RequestError("a constraint"),
    "other": database.StorageError("the volume returned an error"),
}
REFUSALS = (
    errors.PermanentError("'x' is not an absolute path"),
    copying.CopyError("x can't be written"),
    errors.ForeignClusterError("another cluster"),
    errors.TransientError("not now"),
)


def database_errors(verb: str) -> dict[str, float]:
    samples = (sample for family in metrics.REGISTRY.collect() for sample in family.samples)
    return {
        one.labels["error"]: one.value
        for one in samples
        if one.name == "beacon_db_errors_total" and one.labels["verb"] == verb
    }


def test_only_errors_of_the_database_are_counted_as_such(heard: Any) -> None:
    watched = observer.Observer()

    for error in (*DATABASE_ERRORS.values(), *REFUSALS):
        watched.failed("counted", error)
    for error in REFUSALS:
        watched.failed("refused", error)

    assert database_errors("counted") == dict.fromkeys(DATABASE_ERRORS, 1)
    assert database_errors("refused") == {}
    assert [line["kind"] for line in heard()] == ["busy", "rejected"]


def test_a_request_that_the_store_refuses_is_no_error_of_the_database(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db")
    store.service._listener = observer.Observer()
    store.open()
    store.relist(10, seen("a", 5))
    scope, session = store.scopes[0], store.opened[store.scopes[0].id].session
    (tmp_path / "there").touch()
    refused = [
        *(wire.Backup(target=target) for target in ("relative", "/a\0b", f"{tmp_path}/no/x", f"{tmp_path}/there")),
        wire.Adopt(),
        wire.Adopt(cluster="mistyped"),
        wire.OpenStream(scope=scope.id, label="l", fingerprint=scope.fingerprint, nonce="n", cluster="other"),
        wire.CompareOpen(scope=scope.id, fingerprint=scope.fingerprint, nonce="n", cluster="other"),
        wire.ListBegin(
            scope=scope.id, session=session, epoch=0, prev=10, at=-1, fingerprint=scope.fingerprint,
            api_version="v1", reason=model.GapReason.EXPIRED,
        ),
    ]  # fmt: skip
    before = {verb: database_errors(verb) for verb in wire.VERBS}

    replies = [store.ask(request) for request in refused]

    assert [type(reply) for reply in replies] == [wire.Refused] * len(refused)
    assert {verb: database_errors(verb) for verb in wire.VERBS} == before


def test_a_backup_without_room_is_refused_and_is_no_error_of_the_database(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db")
    store.service._listener = observer.Observer()
    store.open()
    store.relist(10, *(seen(f"o{number}", 5, value="v" * 400) for number in range(1000)))
    before = database_errors("backup")
    with volumes.mounted(tmp_path / "small", 64 * 1024) as small:
        reply: Any = None
        while not isinstance(reply, wire.Refused):
            reply = store.ask(wire.Backup(target=str(small.path / "copy.db")))
            assert isinstance(reply, wire.Refused) or reply.left

    assert reply.code is wire.Refusal.FAILED
    assert reply.message == f"{tmp_path}/small/copy.db can't be written: no free space"
    assert database_errors("backup") == before


def test_an_old_failed_delivery_that_is_discarded_is_counted_but_not_logged_by_itself(heard: Any) -> None:
    labels = {"endpoint": "default", "type": "created", "outcome": "discarded"}
    before = metrics.REGISTRY.get_sample_value("beacon_deliveries_total", labels) or 0
    note = redelivery.OldDiscarded(endpoint="default", type=model.EventType.CREATED)

    observer.Observer().committed(requests=1, seconds=0.001, notes=[note])

    assert metrics.REGISTRY.get_sample_value("beacon_deliveries_total", labels) == before + 1
    assert heard() == []


def applied(**values: Any) -> actions.ActionsApplied:
    common: dict[str, Any] = {
        "operation": "one",
        "actor": "alice\x1b[31m",
        "reason": "by hand",
        "done": 40,
        "refused": 1,
        "left": 0,
    }
    return actions.ActionsApplied(action=model.OperatorAction.DISCARDED, **(common | values))


def test_a_command_of_an_operator_is_logged_once_with_its_actor_and_its_numbers(heard: Any) -> None:
    watched = observer.Observer()
    for left in (80, 40, 0):
        watched.committed(requests=1, seconds=0.001, notes=[applied(left=left)])

    (line,) = heard()
    assert (line["event"], line["level"]) == ("deliveries discarded", "warning")
    assert (line["number"], line["refused"], line["unprocessed"]) == (120, 3, 0)
    assert (line["actor"], line["reason"]) == ("alice\x1b[31m", "by hand")


def test_a_command_that_was_interrupted_is_logged_when_another_one_follows_or_after_a_while(
    heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = observer.Observer()
    watched.committed(requests=1, seconds=0.001, notes=[applied(left=80)])
    watched.committed(requests=1, seconds=0.001, notes=[applied(left=80, operation="two")])
    assert [(line["number"], line["unprocessed"]) for line in heard()] == [(40, 80)]

    watched.committed(requests=1, seconds=0.001, notes=[])
    assert heard() == []
    late = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: late)
    watched.committed(requests=1, seconds=0.001, notes=[])
    assert [line["unprocessed"] for line in heard()] == [80]
