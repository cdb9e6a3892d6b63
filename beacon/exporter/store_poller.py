"""The exporter's questions to the store: one thread, one client, one round trip for all who ask at a time.

Every answer is bounded in time, because a probe that hangs says nothing. The store is asked now and then without being
wanted, too, so that a changed configuration is noticed.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from beacon import bus, errors, wire

TIMEOUT_S = 0.8  # of each of the two questions; a scrape without a store takes so long
_IDLE_S = 5.0
_SLICE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAnswer:
    """What the store said; `figures` is None when it does not serve, and `why` says what keeps it.

    `round_trip_s` is how long its first answer took.
    """

    state: str
    since_us: int = 0
    why: str = ""
    round_trip_s: float = 0.0
    figures: wire.Statistics | None = None


class StorePoller:
    """Asks the store on behalf of many threads."""

    def __init__(self, stop: threading.Event) -> None:
        """Ask until `stop` is set."""
        self._stop = stop
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._waiting: list[Future[StoreAnswer]] = []

    def ask(self) -> "Future[StoreAnswer]":
        """Have the store asked; questions that come while one is on its way share the next."""
        future: Future[StoreAnswer] = Future()
        with self._lock:
            self._waiting.append(future)
        self._wanted.set()
        return future

    def run(self, client: bus.Client, beat: Callable[[], None]) -> None:
        """Do the asking, in the thread that owns `client`.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must start anew.
        """
        asked_at = time.monotonic()
        while not self._stop.is_set():
            beat()
            wanted = self._wanted.wait(_SLICE_S)
            if not wanted and time.monotonic() - asked_at < _IDLE_S:
                continue
            asked_at = time.monotonic()
            self._wanted.clear()
            with self._lock:
                waiting, self._waiting = self._waiting, []
            answer = _ask(client)
            for future in waiting:
                future.set_result(answer)


def _ask(client: bus.Client) -> StoreAnswer:
    asked_at = time.monotonic()
    try:
        pong = client.try_call(wire.Ping(), timeout_s=TIMEOUT_S)
        round_trip_s = time.monotonic() - asked_at
        if pong.state != "ready":
            return _unready(pong)
        figures = client.try_call(wire.Inspect(), timeout_s=TIMEOUT_S)
    except bus.LedgerChanged:
        return StoreAnswer(
            state="replaced", why="the ledger is another than before"
        )  # so once; then it is the known one
    except bus.SettingsChanged:
        raise
    except errors.BeaconError as error:
        return StoreAnswer(state="silent", why=str(error))
    return StoreAnswer(state="ready", since_us=pong.since_us, round_trip_s=round_trip_s, figures=figures)


def _unready(pong: wire.Pong) -> StoreAnswer:
    return StoreAnswer(state=pong.state, since_us=pong.since_us, why=f"the store is not serving yet: {pong.state}")
