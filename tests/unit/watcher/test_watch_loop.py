"""The use of epoll: a scope whose requests wait for the store is not read; under load, many lines are read together."""

import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from beacon import bus, wire
from beacon.runtime import process, stop_flag, workers
from beacon.watcher import watch_loop
from tests import run_directories


class Stream:
    """A stream with an open watch on a socket, whose session is congested as long as the test wants."""

    def __init__(self, watched: socket.socket) -> None:
        self.watch = SimpleNamespace(fileno=watched.fileno, more=False)
        self.session = SimpleNamespace(
            congested=True,
            pending=1,
            batch_due_s=lambda: None,
            advance=lambda: None,
            observations_read=0,
            confirmation=lambda: None,
        )
        self.pumped = 0

    def pump(self) -> bool:
        self.pumped += 1
        return True


class RecordedClient:
    """A bus client that records how the loop waits."""

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.submitted: list[wire.Confirm] = []

    def submit(self, request: wire.Confirm, _settle: object) -> None:
        self.submitted.append(request)

    def exchange(self, timeout_s: float) -> None:
        self.waits.append("wait" if timeout_s else "look")

    def rest(self, timeout_s: float) -> None:
        assert 0 < timeout_s <= 0.01
        self.waits.append("rest")


def made(tmp_path: Path, shared: Any = None) -> watch_loop.WatchLoop:
    context = process.Context("watcher", run_dir=run_directories.made(tmp_path), stop=stop_flag.StopFlag())
    pool = workers.Workers(context, "w", quick=1, most=1)
    return watch_loop.WatchLoop(context, cast("bus.SharedClient", shared), pool)


def test_a_broken_connection_of_a_congested_scope_does_not_wake_the_loop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as watched:
        loop, stream = made(tmp_path), cast(Any, Stream(watched))
        loop._enter(stream)
        peer, _ = server.accept()
        peer.sendall(b"x")
        assert loop._epoll.poll(60)

        loop._pump(watched.fileno(), stream)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()  # with a reset
        assert loop._epoll.poll(0) == []
        assert stream.pumped == 0

        stream.session.congested = False
        loop._pump(watched.fileno(), stream)
        assert loop._epoll.poll(60)
        loop._leave(watched.fileno())
        loop._epoll.close()


def test_under_load_the_loop_rests_before_it_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    shared = RecordedClient()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as watched:
        loop, stream = made(tmp_path, shared), cast(Any, Stream(watched))
        stream.session.congested = False
        loop._enter(stream)
        loop._round()  # reads what arrived with the head
        loop._round()
        assert shared.waits == ["look", "wait"]

        def pump() -> bool:
            stream.session.observations_read += 10
            return True

        stream.pump = pump
        loop._pumped_next[watched.fileno()] = None
        loop._round()
        loop._round()
        assert shared.waits[2:] == ["look", "rest", "look"]

        loop._pumped_next[watched.fileno()] = None  # bytes that were received already do not wait
        loop._round()
        assert shared.waits[5:] == ["look"]
        loop._leave(watched.fileno())
        loop._epoll.close()


def test_the_loop_soon_confirms_the_scopes_that_did_not_fit_into_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_loop, "_CONFIRMED_AT_ONCE", 2)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shared = RecordedClient()
    waits: list[float] = []

    def exchange(timeout_s: float) -> None:
        waits.append(timeout_s)
        now[0] += timeout_s

    monkeypatch.setattr(shared, "exchange", exchange)
    loop = made(tmp_path, shared)
    pairs = [socket.socketpair() for _ in range(3)]
    for watched, _ in pairs:
        stream = cast(Any, Stream(watched))
        due = iter([watched.fileno()])
        stream.session = SimpleNamespace(
            congested=False,
            pending=0,
            batch_due_s=lambda: None,
            observations_read=0,
            confirmation=lambda d=due: next(d, None),
        )
        stream.waited = lambda _seconds: None
        stream.watch.ended = False
        loop._enter(stream)
    loop._round()

    for _ in range(3):
        loop._round()

    assert [len(request.positions) for request in shared.submitted] == [2, 1]
    assert waits[-3:] == [1.0, 0.25, 1.0]
    for watched, other in pairs:
        loop._leave(watched.fileno())
        watched.close()
        other.close()
    loop._epoll.close()
