"""`kill -9` of the store while requests pour in: every acknowledged change is in it once, and no other event."""

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beacon import bus, wire
from beacon.domain import model
from beacon.store.ledger import database
from tests.unit.store import world

SCOPE = world.scope_of()
KILLS_A_ROUND = 10


@contextmanager
def store(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.store_process", str(directory)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


class Writer:
    """A stream that writes as fast as the window allows, and remembers what was acknowledged."""

    def __init__(self, directory: Path) -> None:
        self.client = bus.Client(bus.address(directory), stop=threading.Event(), timeout_s=2.0)
        self.acknowledged = 0
        self.nonces = 0

    def open(self) -> None:
        self.nonces += 1
        opened = self.client.call(
            wire.OpenStream(
                scope=SCOPE.id, label="configmaps", fingerprint=SCOPE.fingerprint, nonce=f"{self.nonces}", cluster="c"
            )
        )
        assert isinstance(opened, wire.StreamOpened)
        self.opened = opened
        self.position = opened.cursor
        assert self.position >= self.acknowledged, "an acknowledged position was lost"
        if not self.position:
            self.list_nothing()

    def list_nothing(self) -> None:
        begin = wire.ListBegin(
            scope=SCOPE.id,
            session=self.opened.session,
            epoch=0,
            prev=0,
            at=10,
            fingerprint=SCOPE.fingerprint,
            api_version="v1",
            reason=model.GapReason.FIRST_LIST,
        )
        end = wire.ListEnd(scope=SCOPE.id, session=self.opened.session, at=10, pages=0, count=0)
        for request in (begin, end):
            reply = self.client.call(request)
            assert isinstance(reply, wire.PositionReply)
            if reply.place is not wire.ApplyResult.APPLIED:
                self.open()
                return
        self.position = 10

    def write(self, stop: threading.Event) -> None:
        """Send one change of seven objects per position, and continue where the store's reply states."""
        self.open()
        while not stop.is_set():
            while self.client.free_slots:
                self.client.submit(self.next_request())
            for _, request, reply in self.client.collect(wire.OBSERVE, 0.1):
                if reply.place is wire.ApplyResult.APPLIED:
                    self.acknowledged = max(self.acknowledged, request.position)
                else:
                    self.drain()
                    self.open()
                    break

    def next_request(self) -> wire.Observe:
        prev = self.position
        self.position += 1
        line = world.seen(f"o{self.position % 7}", self.position, value=f"v{self.position}")
        return wire.Observe(
            scope=SCOPE.id,
            session=self.opened.session,
            epoch=0,
            prev=prev,
            position=self.position,
            tracked_version=self.opened.tracked_version,
            fingerprint=SCOPE.fingerprint,
            api_version="v1",
            observations=(line,),
        )

    def drain(self) -> None:
        while self.client.pending:
            for _, request, reply in self.client.collect(wire.OBSERVE, 1):
                if reply.place is wire.ApplyResult.APPLIED:
                    self.acknowledged = max(self.acknowledged, request.position)


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_store_has_lost_nothing_that_it_acknowledged(seed: int) -> None:
    pauses = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="beacon-") as name:
        directory = Path(name)
        writer = Writer(directory)
        stop = threading.Event()
        errors: list[BaseException] = []
        thread = threading.Thread(target=run, args=(writer, stop, errors))
        thread.start()

        for _ in range(KILLS_A_ROUND):
            with store(directory) as process:
                wait_for_progress(writer, pauses.randrange(1, 400), errors)
                process.kill()
        stop.set()
        with store(directory):
            thread.join()
        writer.client.close()

        assert not errors
        assert writer.acknowledged > 10
        check(directory / "e.db", writer.acknowledged)


def wait_for_progress(writer: Writer, positions: int, errors: list[BaseException]) -> None:
    enough = writer.acknowledged + positions
    while writer.acknowledged < enough and not errors:
        time.sleep(0.002)


def run(writer: Writer, stop: threading.Event, errors: list[BaseException]) -> None:
    try:
        writer.write(stop)
        writer.drain()
    except BaseException as error:  # noqa: BLE001  the test's own thread: what went wrong is asserted on
        errors.append(error)


def check(path: Path, acknowledged: int) -> None:
    ledger = database.Database(path)
    versions = [
        int(version)
        for (version,) in ledger.rows(
            "SELECT data ->> '$.metadata.resourceVersion' FROM readable_events ORDER BY sequence"
        )
    ]
    assert versions == list(range(11, len(versions) + 11)), "an event is missing, doubled or out of order"
    assert len(versions) >= acknowledged - 10
    assert ledger.rows("PRAGMA integrity_check") == [("ok",)]
    (deliveries,) = ledger.rows("SELECT count(*) FROM readable_deliveries")[0]
    assert deliveries == len(versions)
    ledger.close()
