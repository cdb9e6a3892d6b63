"""The use of epoll: a scope whose requests wait for the store is not read, whatever happens to its connection."""

import socket
import struct
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from beacon import bus
from beacon.runtime import process, workers
from beacon.watcher import watch_loop
from tests import run_directories


class Stream:
    """A stream with an open watch on a socket, whose session is congested as long as the test wants."""

    def __init__(self, watched: socket.socket) -> None:
        self.watch = SimpleNamespace(fileno=watched.fileno, more=False)
        self.session = SimpleNamespace(congested=True, pending=1, batch_due_s=lambda: None, advance=lambda: None)
        self.pumped = 0

    def pump(self) -> bool:
        self.pumped += 1
        return True


def made(tmp_path: Path) -> watch_loop.WatchLoop:
    context = process.Context("watcher", run_dir=run_directories.made(tmp_path), stop=threading.Event())
    pool = workers.Workers(context, "w", quick=1, most=1)
    return watch_loop.WatchLoop(context, cast("bus.SharedClient", SimpleNamespace()), pool)


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
