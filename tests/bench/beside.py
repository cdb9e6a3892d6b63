"""Latency of writes to a real store process, over the bus, while it does a lot of other work."""

import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from beacon import bus, wire
from beacon.configuration import settings
from beacon.domain import model
from beacon.reconciler import clean
from tests.unit.store import world

_ROWS_AN_OBJECT = 7  # an object, two events, their deliveries and attempts
_GAP_S = 0.005  # between two writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Concurrent work: `fill` creates a ledger with a number of rows, `do` returns how many of them it processed."""

    fill: Callable[[Path, int], None]
    do: Callable[[wire.Caller], int]


def measure(work: Work, *, rows: int, alone_s: float) -> tuple[list[float], list[float], float]:
    """Return the duration of each write in ms, without and with the work, and the processed rows per second."""
    with tempfile.TemporaryDirectory(prefix="b") as name:
        work.fill(Path(name) / "e.db", rows)
        with served(Path(name)) as ask:
            return _work_and_write(ask, bus.address(Path(name)), work, alone_s)


@contextlib.contextmanager
def served(directory: Path) -> Iterator[wire.Caller]:
    """Run a store process on the ledger `e.db` of a directory."""
    command = [sys.executable, "-m", "tests.integration.store_process", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as store:
        assert store.stdout is not None
        store.stdout.readline()
        try:
            with closing(bus.Client(bus.address(directory), stop=threading.Event())) as client:
                yield client.call
        finally:
            store.kill()


class Writer:
    """A client that writes like the watcher; each write contains new objects."""

    def __init__(self, ask: wire.Caller) -> None:
        self._ask = ask
        self._scope = world.scope_of()
        opened = ask(
            wire.OpenStream(
                scope=self._scope.id,
                label="configmaps",
                fingerprint=self._scope.fingerprint,
                nonce="n",
                cluster="c",
            )
        )
        assert isinstance(opened, wire.StreamOpened)
        self._opened = opened
        self._position = opened.cursor

    def write(self, count: int = 1) -> None:
        """Write this number of objects in one request and wait until they are committed."""
        first, self._position = self._position, self._position + count
        versions = range(first + 1, self._position + 1)
        request = wire.Observe(
            scope=self._scope.id,
            session=self._opened.session,
            epoch=self._opened.epoch,
            prev=first,
            position=self._position,
            tracked_version=self._opened.tracked_version,
            fingerprint=self._scope.fingerprint,
            api_version=self._scope.api_version,
            observations=tuple(world.seen(f"new{version}", version, model.ChangeKind.ADDED) for version in versions),
        )
        reply = self._ask(request)
        assert isinstance(reply, wire.PositionReply)
        assert reply.place is wire.ApplyResult.APPLIED, reply


def fill_with_old_rows(path: Path, rows: int) -> None:
    """Create a ledger of objects that were deleted years ago, with this number of rows."""
    _write_events(path, rows // _ROWS_AN_OBJECT // 250 + 1)


def _failed(path: Path, rows: int) -> None:
    """Create a ledger of failed deliveries."""
    _write_events(path, rows // 500 + 1)
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("UPDATE deliveries SET state = 'failed'")
        ledger.execute("UPDATE views SET accepted = 0, accepted_uid = NULL, accepted_value = NULL")
        ledger.execute("DELETE FROM digests")
        ledger.execute("UPDATE counts SET state = 'failed' WHERE what = 'deliveries' AND state = 'delivered'")
        ledger.commit()


def _write_events(path: Path, times: int) -> None:
    store = world.World(path, updates=True)
    store.open()
    store.relist(10)
    at = 10
    for _ in range(times):
        changes = [model.ChangeKind.ADDED, model.ChangeKind.DELETED]
        seen = [
            world.seen(f"o{at + 2 * n}", at + 2 * n + m, change, value="v" * 100)
            for n in range(250)
            for m, change in enumerate(changes, start=1)
        ]
        store.observe(at, at + 500, *seen)
        at += 500
        store.deliver_all()
    store.ledger.close()


def _prune(ask: wire.Caller) -> int:
    rows: dict[str, int] = {}

    def counted(request: wire.Request[wire.R]) -> wire.R:
        reply = ask(request)
        if isinstance(reply, wire.Pruned) and not (isinstance(request, wire.Prune) and request.survey):
            for table, number in reply.rows.items():
                rows[table] = rows.get(table, 0) + number
        return reply

    terms, stop = settings.Retention(), threading.Event()
    clean.Cleaner(terms, stop=stop, beat=lambda: None, report=lambda *_: None).clean(counted)
    return sum(rows.values())


def _redeliver(ask: wire.Caller) -> int:
    """Redeliver all failed deliveries, like `beacon redeliver --state failed`."""
    done, after, more = 0, 0, True
    selection = wire.DeliveryFilter(states=(model.DeliveryState.FAILED,))
    while more:
        page = ask(wire.FindDeliveries(selection=selection, after=after))
        assert isinstance(page, wire.DeliveryPage)
        pairs = tuple((one.delivery, one.generation) for one in page.deliveries)
        while pairs:
            reply = ask(wire.Redeliver(deliveries=pairs))
            assert isinstance(reply, wire.ActionResult)
            assert not reply.refused
            pairs, done = pairs[reply.taken :], done + reply.done
        after, more = page.after, page.more
    return done


PRUNE = Work(fill=fill_with_old_rows, do=_prune)
REDELIVER = Work(fill=_failed, do=_redeliver)


def _work_and_write(ask: wire.Caller, where: str, work: Work, alone_s: float) -> tuple[list[float], list[float], float]:
    rows: list[int] = []

    def labour() -> None:
        with closing(bus.Client(where, stop=threading.Event())) as client:
            rows.append(work.do(client.call))

    worker = threading.Thread(target=labour)
    writer = Writer(ask)
    until = time.monotonic() + alone_s
    alone = _write_while(lambda: time.monotonic() < until, writer)
    began = time.monotonic()
    worker.start()
    took = _write_while(worker.is_alive, writer)
    worker.join()
    return alone, took, sum(rows) / (time.monotonic() - began)


def _write_while(go_on: Callable[[], bool], writer: Writer) -> list[float]:
    took = []
    while go_on():
        began = time.perf_counter()
        writer.write()
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(_GAP_S)
    return took
