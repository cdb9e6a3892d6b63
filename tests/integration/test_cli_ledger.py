"""`beacon adopt`, `backup` and `verify` as a person runs them, against a running store."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beacon import errors, wire
from beacon.configuration import configured_scopes, settings
from beacon.domain import model
from beacon.store.ledger import migrating
from beacon.store.recovery import verification
from tests.integration.test_store_process import Place, place  # noqa: F401  a fixture
from tests.unit.store import world


def beacon(place: Place, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:  # noqa: F811
    command = [sys.executable, "-m", "beacon.cli", *arguments]
    environ = os.environ | {"BEACON_RUN_DIR": str(place.directory)}
    return subprocess.run(command, env=environ, input=answer, capture_output=True, text=True, check=False, timeout=300)


def served(place: Place) -> None:  # noqa: F811
    place.start()
    with place.client() as client:
        client.call(wire.Inspect())


def ledger_with_events(path: Path) -> world.World:
    store = world.World(path)
    store.open()
    store.relist(10, world.seen("a", 5), world.seen("b", 6))
    store.observe(10, 11, world.seen("a", 11, model.ChangeKind.DELETED))
    store.deliver_all()
    return store


def test_a_backup_of_a_running_store_is_whole_and_never_overwrites(place: Place) -> None:  # noqa: F811
    served(place)
    target = place.directory / "copy.db"

    first = beacon(place, "backup", str(target))
    again = beacon(place, "backup", str(target))

    assert (first.returncode, first.stderr) == (0, "")
    with sqlite3.connect(target) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT count(*) FROM meta").fetchall() == [(1,)]
    copy.close()
    assert again.returncode == errors.EXIT_CANNOT_CREATE
    assert list(place.directory.glob("*.partial-*")) == []


def test_a_backup_that_is_refused_names_the_file_and_is_no_fault_of_the_database(place: Place) -> None:  # noqa: F811
    served(place)

    runs = [
        beacon(place, "backup", str(place.directory / name)) for name in ("nowhere/copy.db", "beacon.yaml/copy.db", "")
    ]

    assert [run.returncode for run in runs] == [errors.EXIT_CANNOT_CREATE] * 3
    nowhere = f"{place.directory}/nowhere/copy.db"
    assert runs[0].stderr == f"backup refused: {nowhere} can't be created: No such file or directory\n"
    assert "Not a directory" in runs[1].stderr
    assert "exists already" in runs[2].stderr
    (counters,) = place.directory.rglob("counter_store.db")
    assert b"bus_requests" in counters.read_bytes()
    assert b"db_errors" not in counters.read_bytes()


def test_a_running_store_is_verified_by_a_copy_that_does_not_stay(place: Place) -> None:  # noqa: F811
    served(place)

    run = beacon(place, "verify")

    assert (run.returncode, run.stdout) == (0, "no problems found\n")
    assert list(place.data.glob("*.verify-*")) == []


@pytest.mark.parametrize("arguments", [("adopt", "uid"), ("backup", "copy.db"), ("verify",)])
def test_without_a_store_nothing_hangs(place: Place, arguments: tuple[str, ...]) -> None:  # noqa: F811
    run = beacon(place, *arguments)

    assert run.returncode == errors.EXIT_UNAVAILABLE
    assert "Traceback" not in run.stderr


def test_a_ledger_that_is_served_is_not_opened_beside_the_store(place: Place) -> None:  # noqa: F811
    served(place)

    run = beacon(place, "verify", str(place.data / "events.db"))

    assert run.returncode == errors.EXIT_TEMPORARY
    assert "being served" in run.stderr


def test_a_cluster_that_was_not_refused_is_adopted_only_by_force_and_after_a_question(
    place: Place,  # noqa: F811
) -> None:
    served(place)

    nothing = beacon(place, "adopt")
    mistyped = beacon(place, "adopt", "uid-of-another", "--yes")
    unconfirmed = [beacon(place, "adopt", "uid-of-another", "--force", answer=answer) for answer in ("", "n\n")]
    forced = beacon(place, "adopt", "uid-of-another", "--force", answer="y\n")
    again = beacon(place, "adopt", "uid-of-another")

    assert (nothing.returncode, "name its UID" in nothing.stderr) == (errors.EXIT_FAILURE, True)
    assert (mistyped.returncode, "--force" in mistyped.stderr) == (errors.EXIT_FAILURE, True)
    assert [run.returncode for run in unconfirmed] == [errors.EXIT_FAILURE] * 2
    assert (forced.returncode, forced.stdout) == (0, "the ledger now follows cluster uid-of-another\n")
    assert "will follow cluster uid-of-another" in forced.stderr
    assert (again.returncode, again.stdout) == (0, "the ledger already follows cluster uid-of-another\n")


def test_the_refused_cluster_is_adopted_without_naming_it(place: Place) -> None:  # noqa: F811
    served(place)
    with place.client() as client:
        tree = settings.from_plain(client.call(wire.Hello(process="cli")).settings)
        (scope,) = configured_scopes.of(tree)
        for cluster in ("old", "new"):
            request = wire.OpenStream(
                scope=scope.id, label="l", fingerprint=scope.fingerprint, nonce=cluster, cluster=cluster
            )
            try:
                client.call(request)
            except errors.ForeignClusterError:
                assert cluster == "new"

    run = beacon(place, "adopt", "--yes")

    assert (run.returncode, run.stdout) == (0, "the ledger now follows cluster new\n")


def test_a_kill_in_the_middle_of_a_redelivery_loses_nothing_and_the_same_command_finishes_it(
    place: Place,  # noqa: F811
) -> None:
    path = place.data / "events.db"
    store = ledger_with_events(path)
    store.relist(2000, *(world.seen(f"o{number}", 100 + number) for number in range(300)))
    store.deliver_all()
    store.ledger.run("UPDATE deliveries SET state = 'failed'")
    store.ledger.close()
    everything = wire.DeliveryFilter(states=(model.DeliveryState.FAILED,))
    process = place.start()
    with place.client() as client:
        page = client.call(wire.FindDeliveries(selection=everything))
        assert isinstance(page, wire.DeliveryPage)
        client.call(wire.Redeliver(deliveries=tuple((one.delivery, 0) for one in page.deliveries)))
        process.kill()
        process.wait()

    down = beacon(place, "redeliver", "--state", "failed", "--yes", "--out-of-order")
    served(place)
    rest = beacon(place, "redeliver", "--state", "failed", "--yes", "--out-of-order")

    assert down.returncode == errors.EXIT_UNAVAILABLE
    assert (rest.returncode, rest.stderr) == (0, "")
    with place.client() as client:
        left = client.call(wire.FindDeliveries(selection=everything))
        all_ = client.call(wire.FindDeliveries(selection=wire.DeliveryFilter()))
    assert isinstance(left, wire.DeliveryPage)
    assert isinstance(all_, wire.DeliveryPage)
    assert left.deliveries == ()
    assert {one.generation for one in all_.deliveries} == {1}
    assert int(rest.stdout.split()[0]) < 303


def stop(place: Place) -> None:  # noqa: F811
    place.started[-1].terminate()
    place.started[-1].communicate(timeout=100)


def restored(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    return beacon(place, "restore", "--database", str(place.data / "events.db"), *arguments)


def test_a_backup_is_restored_once_the_store_has_stopped(place: Place) -> None:  # noqa: F811
    served(place)
    copy = str(place.directory / "copy.db")
    beacon(place, "backup", copy)

    refused = restored(place, copy)
    stop(place)
    done = restored(place, copy)
    empty = restored(place, str(place.directory / "beacon.yaml"))

    ledger = place.data / "events.db"
    assert (refused.returncode, refused.stdout) == (errors.EXIT_TEMPORARY, "")
    assert refused.stderr == f"a store serves {ledger}: stop Beacon first, or add --restart-store\n"
    assert (done.returncode, done.stderr) == (errors.EXIT_OK, "")
    size = ledger.stat().st_size
    assert done.stdout.splitlines() == [
        f"{ledger}: restored from {copy}, {size} bytes of schema {migrating.schema_version()}, checked",
        f"the previous ledger is {ledger}.replaced",
    ]
    assert (empty.returncode, "not a database" in empty.stderr) == (errors.EXIT_FAILURE, True)
    served(place)


def test_a_kill_in_the_middle_of_a_restore_leaves_one_of_the_two(place: Place) -> None:  # noqa: F811
    """Kill it at instants all over its run; the next start serves one of the two ledgers, undamaged."""
    path = place.data / "events.db"
    ledger_with_events(path).ledger.close()
    ledger_with_events(place.directory / "copy.db").ledger.close()
    restored(place, str(place.directory / "copy.db"))
    began = time.monotonic()
    restored(place, str(place.directory / "copy.db"))
    took_s = time.monotonic() - began
    command = [
        sys.executable,
        "-m",
        "beacon.store.recovery.restoring",
        str(place.directory / "copy.db"),
        str(path),
        "2",
    ]

    for part in range(8):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(took_s * part / 8)
        run.kill()
        run.wait()
        assert list(verification.findings(path)) == []

    served(place)
    assert list(place.data.glob("*.restore")) == []
    stop(place)
    assert list(verification.findings(path)) == []
