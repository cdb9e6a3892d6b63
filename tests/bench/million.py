"""The cost of a million events in the ledger, compared with a ledger without them. Both have the same rows to prune."""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from beacon import wire
from beacon.configuration import settings
from beacon.dev import testkit
from beacon.domain import model
from beacon.reconciler import clean
from tests.bench import beside, ledgers, rows, terms
from tests.unit.store import world

_ROUNDS = 60
_AT_A_TIME = 25
_STARTS = 4
_LOOKS = 5


def compare(wanted: terms.Terms) -> rows.Figures:
    """Measure both ledgers, one after the other."""
    without = _measure(wanted, 0)
    full = _measure(wanted, wanted.many(1_000_000))
    figures = {f"1,000,000 events: {what}, times an empty ledger's": full[what] / without[what] for what in full}
    return figures | {f"1,000,000 events: {what}, ms": took * 1000 for what, took in full.items()}


def _measure(wanted: terms.Terms, events: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        ledgers.copied(wanted, events, Path(name) / "e.db")
        with beside.served(Path(name)) as ask:
            figures = _claim(wanted, ask) | {"prune": _timed(lambda: _prune(ask))}
    return figures | _run(wanted, events)


def _claim(wanted: terms.Terms, ask: wire.Caller) -> dict[str, float]:
    """Write changes and claim their deliveries, settling the previous ones; return the median duration of each."""
    writer = beside.Writer(ask)
    written, claimed = [], []
    settlements: tuple[model.Outcome, ...] = ()
    for number in range(1, wanted.many(_ROUNDS) + 1):
        written.append(_timed(lambda: writer.write(_AT_A_TIME)))
        request = wire.Claim(
            endpoint="default", session="s", number=number, want=_AT_A_TIME, wait_s=1.0, settlements=settlements
        )
        began = time.perf_counter()
        reply = ask(request)
        claimed.append(time.perf_counter() - began)
        assert isinstance(reply, wire.Claimed)
        assert len(reply.deliveries) == _AT_A_TIME, reply
        settlements = tuple(map(world.delivered, reply.deliveries))
    return {"observe": statistics.median(written), "claim": statistics.median(claimed)}


def _prune(ask: wire.Caller) -> None:
    cleaner = clean.Cleaner(settings.Retention(), stop=threading.Event(), beat=lambda: None, report=lambda *_: None)
    cleaner.clean(ask)


def _run(wanted: terms.Terms, events: int) -> dict[str, float]:
    """Start Beacon several times on such a ledger, and run `beacon status`."""
    with wanted.stage() as on:
        path = on.ledger()
        ledgers.copied(wanted, events, path)
        ledgers.forget_cluster(path)
        started = []
        for _ in range(wanted.often(_STARTS)):
            on.beacon.stop()
            on.start()
            started.append(on.ready_s)
        # The copy has no clean-shutdown marker, so the first start checks the file.
        checked, clean_starts = started[0], started[1:] or started
        looks = [_timed(lambda: _status(on.beacon)) for _ in range(wanted.often(_LOOKS))]
        copy = path.with_name("copy.db")
        ledgers.copied(wanted, events, copy)
        on.beacon.stop()
        restored = _timed(lambda: _restore(path, copy))
        on.ledger()  # the restored one is of another cluster
        on.start()
    return {
        "restore": restored,
        "start": statistics.median(clean_starts),
        "start that checks the file": checked,
        "status": statistics.median(looks),
    }


def _status(beacon: testkit.Beacon) -> None:
    subprocess.run(
        [sys.executable, "-m", "beacon.cli", "status"], env=beacon.environ, check=False, stdout=subprocess.DEVNULL
    )


def _restore(path: Path, copy: Path) -> None:
    command = [sys.executable, "-m", "beacon.cli", "restore", "--database", str(path), str(copy)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
