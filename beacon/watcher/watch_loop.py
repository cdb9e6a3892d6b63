"""The watcher's loop: one thread reads all open watches and talks to the store; what blocks runs in worker threads.

A scope is at any time in one of four places: with a worker (which opens its watch, or handles a failure), in the loop
(its watch is open), waiting for its next attempt, or closed. Only where it is may it be touched.
"""

import functools
import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from beacon import bus, errors, wire
from beacon.cluster import failures
from beacon.runtime import log, process, workers
from beacon.watcher import observation_rate, scope_watch

_TICK_S = 1.0
_BUSY_TICK_S = 0.25  # while tasks wait for a thread, or scopes for the confirmation of their positions
_LONGEST_TICK_S = 2 * _TICK_S  # a process that was frozen has not waited for its watches meanwhile
_CONFIRMED_AT_ONCE = 100
_LAST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """What a worker has done for a scope: `pause_s` until the next attempt, None: its watch is open."""

    stream: scope_watch.ScopeWatch
    pause_s: float | None = None
    failure: errors.BeaconError | None = None


class WatchLoop:
    """Watches the scopes of a process."""

    def __init__(self, context: process.Context, shared: bus.SharedClient, pool: workers.Workers) -> None:
        """Send through `shared`, which only this loop drives; block in `pool` only."""
        self._context = context
        self._shared = shared
        self._pool = pool
        self._epoll = select.epoll()
        self._streams: Sequence[scope_watch.ScopeWatch] = ()
        self._open: dict[int, scope_watch.ScopeWatch] = {}  # by the descriptor of its watch
        self._finished: deque[_Finished] = deque()
        self._waiting: list[tuple[float, int, scope_watch.ScopeWatch]] = []
        self._order = itertools.count()
        self._pumped_next: dict[int, None] = {}  # descriptors to be pumped without a report of epoll
        self._busy: dict[int, None] = {}  # those with a batch or unanswered requests
        self._closed_to_reads: set[int] = set()
        self._ticked_at = time.monotonic()
        self._is_confirming = False
        self._rate = observation_rate.ObservationRate()

    @property
    def descriptor(self) -> int:
        """Return the descriptor that is readable when a watch is."""
        return self._epoll.fileno()

    def run(self, streams: Sequence[scope_watch.ScopeWatch]) -> None:
        """Watch until the process is asked to stop.

        Raises:
            bus.SettingsChanged: the store has another configuration; this process must restart.
            errors.ConfigError: the ledger belongs to another cluster.
        """
        self._streams = streams
        for stream in streams:
            self._begin(stream)
        while not self._context.stop.is_set():
            self._round()
        self._finish()

    def close(self) -> None:
        """Close all watches, also those that a worker has."""
        for stream in self._streams:
            stream.abandon()
        self._epoll.close()

    def _round(self) -> None:
        rest_s = 0.0 if self._pumped_next or self._finished else self._rate.rest_s(time.monotonic())
        if rest_s > 0:
            self._shared.rest(rest_s)
            self._shared.exchange(0.0)
        else:
            self._shared.exchange(self._timeout_s())
        self._collect_finished()
        for descriptor, _ in self._epoll.poll(0):
            self._pumped_next[descriptor] = None
        due, self._pumped_next = self._pumped_next, {}
        for descriptor in {**due, **self._busy}:
            if (stream := self._open.get(descriptor)) is not None:
                self._pump(descriptor, stream)
        self._tick()

    @property
    def _tick_s(self) -> float:
        return _BUSY_TICK_S if self._pool.waiting or self._is_confirming else _TICK_S

    def _timeout_s(self) -> float:
        now = time.monotonic()
        if self._pumped_next or self._finished:
            return 0.0
        until = self._ticked_at + self._tick_s
        if self._waiting:
            until = min(until, self._waiting[0][0])
        timeout_s = max(0.0, until - now)
        for descriptor in self._busy:
            due_s = self._open[descriptor].session.batch_due_s()
            if due_s is not None:
                timeout_s = min(timeout_s, due_s)
        return timeout_s

    def _pump(self, descriptor: int, stream: scope_watch.ScopeWatch) -> None:
        session = stream.session
        before = session.observations_read
        try:
            if session.congested:
                session.advance()
                is_open = True
            else:
                is_open = stream.pump()
        except errors.BeaconError as failure:
            self._fail(descriptor, stream, failure)
            return
        if not is_open:
            self._leave(descriptor)
            self._pause(stream, stream.ended())
            return
        self._rate.read(session.observations_read - before, time.monotonic())
        if stream.watch.more:
            self._pumped_next[descriptor] = None
        if session.pending or session.batch_due_s() is not None:
            self._busy[descriptor] = None
        else:
            self._busy.pop(descriptor, None)
        self._allow_reads(descriptor, allowed=not session.congested)

    def _allow_reads(self, descriptor: int, *, allowed: bool) -> None:
        """Stop reading while the store is behind, so that TCP flow control stops the server."""
        if allowed == (descriptor not in self._closed_to_reads):
            return
        if allowed:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._closed_to_reads.remove(descriptor)
        else:
            self._epoll.unregister(descriptor)  # a registered one would go on reporting a broken connection
            self._closed_to_reads.add(descriptor)

    def _tick(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._begin(heapq.heappop(self._waiting)[2])
        waited_s = now - self._ticked_at
        if waited_s < self._tick_s:
            return
        self._ticked_at = now
        self._pool.grow()
        for descriptor, stream in list(self._open.items()):
            if descriptor not in self._closed_to_reads:
                self._wait(descriptor, stream, min(waited_s, _LONGEST_TICK_S))
        self._confirm()

    def _wait(self, descriptor: int, stream: scope_watch.ScopeWatch, seconds: float) -> None:
        try:
            stream.waited(seconds)
        except failures.Silent as silence:
            self._leave(descriptor)
            self._work(stream, functools.partial(self._probe, stream, silence))
            return
        if stream.watch.ended:
            self._pumped_next[descriptor] = None

    def _confirm(self) -> None:
        """Confirm the positions of quiet scopes, all in one request, a limited number at a time."""
        asked: list[tuple[scope_watch.ScopeWatch, wire.Observe]] = []
        for stream in self._open.values():
            if (request := stream.session.confirmation()) is not None:
                asked.append((stream, request))
                if len(asked) == _CONFIRMED_AT_ONCE:
                    break
        self._is_confirming = len(asked) == _CONFIRMED_AT_ONCE
        if not asked:
            return

        def settle(answer: bus.Answer) -> None:
            for number, (stream, request) in enumerate(asked):
                self._confirmed(
                    stream, request, answer.replies[number] if isinstance(answer, wire.Confirmed) else answer
                )

        self._shared.submit(wire.Confirm(positions=tuple(request for _, request in asked)), settle)

    def _confirmed(self, stream: scope_watch.ScopeWatch, request: wire.Observe, answer: bus.Answer) -> None:
        descriptor = stream.watch.fileno()
        if self._open.get(descriptor) is not stream:
            return  # its watch has failed meanwhile
        try:
            if isinstance(answer, errors.BeaconError):
                raise answer
            if isinstance(answer, wire.PositionReply):
                stream.session.confirmed(request, answer)
        except errors.BeaconError as failure:
            self._fail(descriptor, stream, failure)

    def _fail(self, descriptor: int, stream: scope_watch.ScopeWatch, failure: errors.BeaconError) -> None:
        if isinstance(failure, bus.SettingsChanged):
            raise failure
        self._leave(descriptor)
        stream.close()
        self._work(stream, lambda: _Finished(stream=stream, pause_s=stream.recover(failure)))

    def _leave(self, descriptor: int) -> None:
        if descriptor in self._closed_to_reads:
            self._closed_to_reads.remove(descriptor)
        else:
            self._epoll.unregister(descriptor)
        del self._open[descriptor]
        self._busy.pop(descriptor, None)
        self._pumped_next.pop(descriptor, None)

    def _enter(self, stream: scope_watch.ScopeWatch) -> None:
        descriptor = stream.watch.fileno()
        self._epoll.register(descriptor, select.EPOLLIN)
        self._open[descriptor] = stream
        self._pumped_next[descriptor] = None  # bytes may have arrived with the head

    def _begin(self, stream: scope_watch.ScopeWatch) -> None:
        self._work(stream, lambda: _Finished(stream=stream, pause_s=stream.open()))

    def _probe(self, stream: scope_watch.ScopeWatch, silence: failures.Silent) -> _Finished:
        try:
            stream.probe(silence)
        except failures.Silent as failure:
            return _Finished(stream=stream, failure=failure)
        return _Finished(stream=stream)

    def _work(self, stream: scope_watch.ScopeWatch, work: Callable[[], _Finished]) -> None:
        def run() -> None:
            self._finished.append(work())
            self._shared.wake()

        self._pool.run(stream.name, run)

    def _collect_finished(self) -> None:
        while self._finished:
            finished = self._finished.popleft()
            if finished.failure is not None:
                self._give_up(finished.stream, finished.failure)
            elif finished.pause_s is None:
                self._enter(finished.stream)
            else:
                self._pause(finished.stream, finished.pause_s)

    def _give_up(self, stream: scope_watch.ScopeWatch, failure: errors.BeaconError) -> None:
        """Close a watch whose probe failed; the events that it sent before are valid."""
        try:
            stream.session.flush()
        except bus.LedgerChanged as changed:
            failure = changed
        stream.close()
        self._work(stream, lambda: _Finished(stream=stream, pause_s=stream.recover(failure)))

    def _pause(self, stream: scope_watch.ScopeWatch, pause_s: float) -> None:
        heapq.heappush(self._waiting, (time.monotonic() + pause_s, next(self._order), stream))

    def _finish(self) -> None:
        """Send the last positions, if the store still answers quickly: an error changes nothing now."""
        deadline = time.monotonic() + _LAST_S
        try:
            for stream in self._open.values():
                stream.session.flush()
            while any(stream.session.pending for stream in self._open.values()) and time.monotonic() < deadline:
                self._shared.exchange(max(0.0, deadline - time.monotonic()))
        except errors.BeaconError as error:
            log.get().debug("last positions not sent", reason=str(error))
