"""How long a write takes while 100,000 rows are pruned beside it: a real store process, everything over the bus."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from beacon import bus, model, settings, wire
from beacon.reconciler import clean
from tests.unit.store import world

ROWS = 100_000
_ROWS_AN_OBJECT = 7  # an object, two events, their deliveries and attempts
_GAP_S = 0.005  # between two writes
_ALONE_S = 10.0  # how long is written before, with nothing beside it


def measure() -> tuple[list[float], list[float], float]:
    """Give the milliseconds that each write took before and meanwhile, and how many rows went a second."""
    with tempfile.TemporaryDirectory(prefix="b") as name:
        directory = Path(name)
        _fill(directory / "e.db")
        command = [sys.executable, "-m", "tests.integration.store_process", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as store:
            assert store.stdout is not None
            store.stdout.readline()
            try:
                return _prune_and_write(bus.address(directory))
            finally:
                store.kill()


def _fill(path: Path) -> None:
    """Make a ledger of objects that are gone and were told years ago."""
    store = world.World(path, updates=True)
    store.open()
    store.relist(10)
    at = 10
    for _ in range(ROWS // _ROWS_AN_OBJECT // 250 + 1):
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


def _prune_and_write(where: str) -> tuple[list[float], list[float], float]:
    stop = threading.Event()
    rows: dict[str, int] = {}

    def prune() -> None:
        terms = settings.Retention()
        with bus.Client(where, stop=stop) as client:

            def ask(request: wire.Request) -> wire.Reply:
                reply = client.call(request)
                if isinstance(reply, wire.Pruned) and not (isinstance(request, wire.Prune) and request.survey):
                    for table, number in reply.rows.items():
                        rows[table] = rows.get(table, 0) + number
                return reply

            clean.Cleaner(terms, stop=stop, beat=lambda: None, report=lambda *_: None).clean(ask)

    pruner = threading.Thread(target=prune)
    with closing(bus.Client(where, stop=stop)) as client:
        scope = world.scope_of()
        opened = client.call(
            wire.OpenStream(scope=scope.id, label="configmaps", fingerprint=scope.fingerprint, nonce="n", cluster="c")
        )
        assert isinstance(opened, wire.StreamOpened)
        until = time.monotonic() + _ALONE_S
        alone, position = _write_while(lambda: time.monotonic() < until, client, opened, opened.cursor)
        began = time.monotonic()
        pruner.start()
        took, _ = _write_while(pruner.is_alive, client, opened, position)
    pruner.join()
    return alone, took, sum(rows.values()) / (time.monotonic() - began)


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
