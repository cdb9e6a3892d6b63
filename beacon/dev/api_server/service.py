"""Everything that the handlers share: the cluster, its guards, the open watches and the log of requests.

One `Service` lives as long as the cluster, over restarts of the listening server. It wakes watches when something
changed; it does not answer requests itself.
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
    """What a test may want otherwise than a real server has it."""

    history: int = 10_000  # changes kept per resource before the oldest are forgotten
    first_version: int = 1
    bookmark_interval_s: float = 60.0
    bookmark_before_timeout_s: float = 2.0
    progress: bool = True  # False: as Kubernetes 1.24, a quiet kind gets no bookmark, whatever happens to others
    watch_timeout_s: float = 1800.0  # of a watch that names none; up to twice as long
    host: str = "127.0.0.1"
    port: int = 0
    tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request that was answered, or is a watch that has begun."""

    at: float
    user: str
    verb: str
    resource: str
    path: str
    status: int


class OpenWatch(Protocol):
    """What the service needs of a watch that is open."""

    user: access.ApiUser
    info: routing.Info

    def wake(self) -> None:
        """Make the watch look whether there is something to do."""

    def end(self, ending: faults.Ending, error: bytes = b"") -> None:
        """Make the watch end."""


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
        self.watches: set[OpenWatch] = set()
        self.address = ""
        # How to cut a client's connection, at once or once what was written is sent; the server knows.
        self.abort: Callable[[ClientAddress], None] = lambda _: None
        self.close: Callable[[ClientAddress], None] = lambda _: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = threading.Event()
        self.state.on_change = self.changed

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Wake watches in this loop from now on; None when there is none any more."""
        self._loop = loop
        self._waking.clear()

    def changed(self) -> None:
        """Wake all watches soon; may be called by any thread, and often: what comes together wakes once."""
        if self._loop is not None and not self._waking.is_set():
            self._waking.set()
            with contextlib.suppress(RuntimeError):  # the loop is closing, and the watches with it
                self._loop.call_soon_threadsafe(self._wake)

    def in_loop(self, action: Callable[[], Result]) -> Result:
        """Do something in the server's loop and return its result; must not be called from that loop."""
        if self._loop is None:
            return action()

        async def act() -> Result:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(timeout=10)

    def record(self, user: str, info: routing.Info, code: int) -> None:
        """Note that a request was answered."""
        entry = Answered(at=time.time(), user=user, verb=info.verb, resource=info.resource, path=info.path, status=code)
        self.answered.append(entry)

    def _wake(self) -> None:
        self._waking.clear()
        for watch in self.watches:
            watch.wake()
