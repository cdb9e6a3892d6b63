"""The state that the handlers share: objects, rights, faults, open watches and the log of requests.

One `ApiService` exists as long as the cluster, across restarts of the listening server. It wakes watches after a
change; it must not answer requests itself.
"""

import asyncio
import collections
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from beacon.dev.api_server import access, catalogue, faults, lifecycle, routing, state

_REQUESTS_KEPT = 10_000

ClientAddress = tuple[str, int]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Settings of the server. The defaults resemble a real one."""

    history: int = 10_000  # changes kept per resource
    first_version: int = 1
    bookmark_interval_s: float = 60.0
    bookmark_before_timeout_s: float = 2.0
    progress: bool = True  # False: as in Kubernetes 1.24, a kind without changes gets no bookmarks
    watch_timeout_s: float = 1800.0  # of a watch without timeoutSeconds; randomized up to twice this
    host: str = "127.0.0.1"
    port: int = 0
    tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answered request, or one watch that has begun."""

    at: float
    user: str
    verb: str
    resource: str
    path: str
    status: int


class WatchHandle(Protocol):
    """The service's view of an open watch."""

    user: access.ApiUser
    info: routing.Info

    def wake(self) -> None:
        """Wake the watch, so that it checks for changes and faults."""

    def end(self, ending: faults.Ending, error: bytes = b"") -> None:
        """End the watch."""


class ApiService:
    """The embedded cluster as its handlers see it."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.state = state.ClusterState(history=settings.history, first_version=settings.first_version)
        self.registry = catalogue.built_in()
        self.life = lifecycle.Lifecycle(self.state, self.registry)
        self.access = access.AccessReviewer(self.state)
        self.faults = faults.Faults()
        self.answered: collections.deque[Answered] = collections.deque(maxlen=_REQUESTS_KEPT)
        self.watches: set[WatchHandle] = set()
        self.address = ""
        # Cut a client's connection, at once or after the written data was sent; set by `server.ApiServer`.
        self.abort: Callable[[ClientAddress], None] = lambda _: None
        self.close: Callable[[ClientAddress], None] = lambda _: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = threading.Event()
        self.state.on_change = self.changed

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Set the event loop in which watches are woken; None if it has ended."""
        self._loop = loop
        self._waking.clear()

    def changed(self) -> None:
        """Schedule a wake-up of all watches. May be called from any thread; concurrent calls are merged."""
        if self._loop is not None and not self._waking.is_set():
            self._waking.set()
            with contextlib.suppress(RuntimeError):  # the loop is closing, and the watches with it
                self._loop.call_soon_threadsafe(self._wake)

    def in_loop(self, action: Callable[[], Result]) -> Result:
        """Run an action in the server's event loop and return its result. Must not be called from that loop."""
        if self._loop is None:
            return action()

        async def act() -> Result:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(timeout=10)

    def record(self, user: str, info: routing.Info, code: int) -> None:
        """Record an answered request."""
        entry = Answered(at=time.time(), user=user, verb=info.verb, resource=info.resource, path=info.path, status=code)
        self.answered.append(entry)

    def _wake(self) -> None:
        self._waking.clear()
        for watch in self.watches:
            watch.wake()
