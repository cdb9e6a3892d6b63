"""How long a write takes beside a lot of work: a real store process, everything over the bus."""

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from beacon import bus, model, settings, wire
from beacon.reconciler import clean
from tests.unit.store import world

ROWS = 100_000
_ROWS_AN_OBJECT = 7  # an object, two events, their deliveries and attempts
_GAP_S = 0.005  # between two writes
_ALONE_S = 10.0  # how long is written before, with nothing beside it


Ask = Callable[[wire.Request], wire.Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done beside the writes: `fill` makes the ledger, `do` works and gives how many rows that were."""

    fill: Callable[[Path], None]
    do: Callable[[Ask], int]


def measure(work: Work) -> tuple[list[float], list[float], float]:
    """Give the milliseconds that each write took before and meanwhile, and how many rows a second were worked on."""
    with tempfile.TemporaryDirectory(prefix="b") as name:
        directory = Path(name)
        work.fill(directory / "e.db")
        command = [sys.executable, "-m", "tests.integration.store_process", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as store:
            assert store.stdout is not None
            store.stdout.readline()
            try:
                return _work_and_write(bus.address(directory), work)
            finally:
                store.kill()


def _told_years_ago(path: Path) -> None:
    """Make a ledger of objects that are gone, about 100,000 rows in all."""
    _tell(path, ROWS // _ROWS_AN_OBJECT // 250 + 1)


def _failed(path: Path) -> None:
    """Make a ledger of 100,000 deliveries that have failed."""
    _tell(path, ROWS // 500)
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("UPDATE deliveries SET state = 'failed'")
        ledger.commit()


def _tell(path: Path, times: int) -> None:
    store = world.World(path, updates=True)
    store.open()
    store.relist(10)
    at = 10
    for _ in range(times):
        changes = [model.Change.ADDED, model.Change.DELETED]
        seen = [
            world.seen(f"o{at + 2 * n}", at + 2 * n + m, change, value="v" * 100)
            for n in range(250)
            for m, change in enumerate(changes, start=1)
        ]
        store.observe(at, at + 500, *seen)
        at += 500
        store.deliver_all()
    store.ledger.close()


def _prune(ask: Ask) -> int:
    rows: dict[str, int] = {}

    def counted(request: wire.Request) -> wire.Reply:
        reply = ask(request)
        if isinstance(reply, wire.Pruned) and not (isinstance(request, wire.Prune) and request.survey):
            for table, number in reply.rows.items():
                rows[table] = rows.get(table, 0) + number
        return reply

    terms, stop = settings.Retention(), threading.Event()
    clean.Cleaner(terms, stop=stop, beat=lambda: None, report=lambda *_: None).clean(counted)
    return sum(rows.values())


def _redeliver(ask: Ask) -> int:
    """Do what `beacon redeliver --state failed` does."""
    done, after, more = 0, 0, True
    selection = wire.Selection(states=(model.DeliveryState.FAILED,))
    while more:
        page = ask(wire.Find(selection=selection, after=after))
        assert isinstance(page, wire.Found)
        pairs = tuple((one.delivery, one.generation) for one in page.deliveries)
        while pairs:
            reply = ask(wire.Redeliver(deliveries=pairs))
            assert isinstance(reply, wire.Acted)
            assert not reply.refused
            pairs, done = pairs[reply.taken :], done + reply.done
        after, more = page.after, page.more
    return done


PRUNE = Work(fill=_told_years_ago, do=_prune)
REDELIVER = Work(fill=_failed, do=_redeliver)


def _work_and_write(where: str, work: Work) -> tuple[list[float], list[float], float]:
    stop = threading.Event()
    rows: list[int] = []

    def labour() -> None:
        with closing(bus.Client(where, stop=stop)) as client:
            rows.append(work.do(client.call))

    worker = threading.Thread(target=labour)
    with closing(bus.Client(where, stop=stop)) as client:
        scope = world.scope_of()
        opened = client.call(
            wire.OpenStream(scope=scope.id, label="configmaps", fingerprint=scope.fingerprint, nonce="n", cluster="c")
        )
        assert isinstance(opened, wire.StreamOpened)
        until = time.monotonic() + _ALONE_S
        alone, position = _write_while(lambda: time.monotonic() < until, client, opened, opened.cursor)
        began = time.monotonic()
        worker.start()
        took, _ = _write_while(worker.is_alive, client, opened, position)
    worker.join()
    return alone, took, sum(rows) / (time.monotonic() - began)


def _write_while(
    go_on: Callable[[], bool], client: bus.Client, opened: wire.StreamOpened, position: int
) -> tuple[list[float], int]:
    scope, took = world.scope_of(), []
    while go_on():
        request = wire.Observe(
            scope=scope.id,
            session=opened.session,
            epoch=opened.epoch,
            prev=position,
            position=position + 1,
            tracked_version=opened.tracked_version,
            fingerprint=scope.fingerprint,
            api_version=scope.api_version,
            observations=(world.seen(f"new{position}", position + 1, model.Change.ADDED),),
        )
        began = time.perf_counter()
        reply = client.call(request)
        took.append((time.perf_counter() - began) * 1000)
        assert isinstance(reply, wire.Positioned)
        assert reply.place is wire.Place.APPLIED, reply
        position += 1
        time.sleep(_GAP_S)
    return took, position
