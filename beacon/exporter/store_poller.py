"""Polls the store for the exporter: one thread, one client, one poll for all concurrent requests.

Each poll has a timeout, because a hanging probe is useless. The thread also polls regularly without a request, to
detect a changed configuration.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from beacon import bus, errors, wire

TIMEOUT_S = 0.8  # of each of the two requests; a scrape without a store takes this long
_IDLE_S = 5.0
_SLICE_S = 2.0  # longest wait between heartbeats


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAnswer:
    """The store's answer; `statistics` is None if it does not serve, and `why` is the reason.

    `round_trip_s` is the duration of the ping.
    """

    state: str
    since_us: int = 0
    why: str = ""
    round_trip_s: float = 0.0
    statistics: wire.Statistics | None = None


class StorePoller:
    """Polls the store on behalf of many threads."""

    def __init__(self, stop: threading.Event) -> None:
        """Create a poller that runs until `stop` is set."""
        self._stop = stop
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._waiting: list[Future[StoreAnswer]] = []

    def ask(self) -> "Future[StoreAnswer]":
        """Request a poll; requests made during a poll share the next one."""
        future: Future[StoreAnswer] = Future()
        with self._lock:
            self._waiting.append(future)
        self._wanted.set()
        return future

    def wake(self) -> None:
        """Wake `run`, because the process is asked to stop."""
        self._wanted.set()

    def run(self, client: bus.Client, beat: Callable[[], None]) -> None:
        """Poll the store, in the thread that owns `client`.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must restart.
        """
        asked_at = time.monotonic()
        while not self._stop.is_set():
            beat()
            self._wanted.wait(max(0.0, min(_SLICE_S, asked_at + _IDLE_S - time.monotonic())))
            self._wanted.clear()
            with self._lock:
                waiting, self._waiting = self._waiting, []
            if not waiting and (self._stop.is_set() or time.monotonic() - asked_at < _IDLE_S):
                continue
            asked_at = time.monotonic()
            answer = _ask(client, statistics=bool(waiting))
            for future in waiting:
                future.set_result(answer)


def _ask(client: bus.Client, *, statistics: bool) -> StoreAnswer:
    asked_at = time.monotonic()
    try:
        pong = client.try_call(wire.Ping(), timeout_s=TIMEOUT_S)
        round_trip_s = time.monotonic() - asked_at
        if pong.state != "ready":
            return _unready(pong)
        found = client.try_call(wire.Inspect(), timeout_s=TIMEOUT_S) if statistics else None
    except bus.LedgerChanged:
        return StoreAnswer(state="replaced", why="the ledger was replaced")  # once; then it is the known ledger
    except bus.SettingsChanged:
        raise
    except errors.BeaconError as error:
        return StoreAnswer(state="silent", why=str(error))
    return StoreAnswer(state="ready", since_us=pong.since_us, round_trip_s=round_trip_s, statistics=found)


def _unready(pong: wire.Pong) -> StoreAnswer:
    return StoreAnswer(state=pong.state, since_us=pong.since_us, why=f"the store is not serving yet: {pong.state}")
