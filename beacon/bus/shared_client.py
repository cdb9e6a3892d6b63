"""One bus client for all threads of a process: one of them drives it, the others call through it.

A client of its own costs a thread five open files and its own confirmations. The driving thread alone touches the
`Client`; a call of another thread is a queue entry and an event. A `Link` is the part of one user, such as a watch
stream: its unanswered requests, its replies, and the ledger that its data came from.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from beacon import errors, wire
from beacon.bus import client as bus_client

_SLICE_S = 0.5  # longest wait between checks of the stop flag and heartbeats
Answer = wire.Reply | errors.BeaconError


class SharedClient:
    """A client that its owner drives with `exchange`."""

    def __init__(self, client: bus_client.Client, *, stop: threading.Event) -> None:
        """Send through `client`, which belongs to the owner's thread."""
        self._client = client
        self._stop = stop
        self._calls: deque[tuple[wire.AnyRequest, Callable[[Answer], None]]] = deque()
        self._waiting: dict[int, Callable[[Answer], None]] = {}
        self.generation = 0  # number of ledgers that the store has had meanwhile

    def call(self, request: wire.Request[wire.R], *, beat: Callable[[], None]) -> wire.R:
        """Send a request from any thread but the owner's, and wait for its reply; `beat` writes the thread's heartbeat.

        Raises:
            errors.Stopping: the process must stop.
            errors.PermanentError: the store rejected the request.
            LedgerChanged, SettingsChanged: see `Client`.
        """
        done = threading.Event()
        answers: list[Answer] = []

        def settle(answer: Answer) -> None:
            answers.append(answer)
            done.set()

        self._calls.append((request, settle))
        self._client.wake()
        while not done.wait(_SLICE_S):
            beat()
            if self._stop.is_set():
                raise errors.Stopping("stopped while waiting for the store")
        if isinstance(answers[0], errors.BeaconError):
            raise answers[0]
        return cast("wire.R", answers[0])  # `wire.reply_body` parsed it as the request's reply

    def wake(self) -> None:
        """Make the current or next `exchange` return early; any thread may call this."""
        self._client.wake()

    def rest(self, timeout_s: float) -> None:
        """Wait until woken or called, for up to `timeout_s`, without looking at replies. For the owner."""
        self._client.rest(timeout_s)

    def submit(self, request: wire.AnyRequest, settle: Callable[[Answer], None]) -> None:
        """Send a request without waiting; `exchange` passes the reply, or the error, to `settle`. For the owner."""
        self._waiting[self._client.submit(request)] = settle

    def exchange(self, timeout_s: float) -> None:
        """Send what was called, wait up to `timeout_s` for replies and pass them on. For the owner.

        Raises:
            SettingsChanged: the store has another configuration; all requests are answered with this error.
        """
        while self._calls:
            self.submit(*self._calls.popleft())
        try:
            for ticket, _, answer in self._client.gather(timeout_s):
                self._waiting.pop(ticket)(answer)
        except bus_client.LedgerChanged as error:
            self.generation += 1
            self._answer_all(error)
        except bus_client.SettingsChanged as error:
            self._answer_all(error)
            raise

    def _answer_all(self, error: errors.BeaconError) -> None:
        waiting, self._waiting = self._waiting, {}
        for settle in waiting.values():
            settle(error)


class Link:
    """The part of one user of a `SharedClient`; at any time one thread may use it."""

    def __init__(self, shared: SharedClient, *, beat: Callable[[], None]) -> None:
        """Send through `shared`; `beat` writes the calling thread's heartbeat."""
        self._shared = shared
        self._beat = beat
        self._generation = shared.generation
        self._submitted: set[int] = set()
        self._numbers = 0
        self._answers: deque[tuple[wire.AnyRequest, Answer]] = deque()

    def renew(self) -> None:
        """Forget what an earlier ledger was asked for: what is sent from now on relies on nothing older."""
        self._generation = self._shared.generation
        self._submitted.clear()
        self._answers.clear()

    def call(self, request: wire.Request[wire.R]) -> wire.R:
        """Send a request and wait for its reply, in any thread but the one that drives the client.

        Raises:
            LedgerChanged: also if the ledger has changed since `renew`.
            errors.Stopping, errors.PermanentError, SettingsChanged: see `SharedClient.call`.
        """
        self._check_generation()
        return self._shared.call(request, beat=self._beat)

    @property
    def pending(self) -> int:
        """Return the number of unanswered requests of `submit`."""
        return len(self._submitted)

    def submit(self, request: wire.AnyRequest) -> None:
        """Send a request without waiting, in the thread that drives the client; `take` returns its reply.

        Raises:
            LedgerChanged: the ledger has changed since `renew`.
        """
        self._check_generation()
        self._numbers += 1
        number = self._numbers
        self._submitted.add(number)

        def settle(answer: Answer) -> None:
            if number in self._submitted:  # not one from before `renew`
                self._submitted.remove(number)
                self._answers.append((request, answer))

        self._shared.submit(request, settle)

    def take(self, verb: wire.Verb[Any, wire.R]) -> list[tuple[Any, wire.R]]:
        """Return the replies to submitted requests of `verb` that have arrived, as (request, reply).

        Raises:
            errors.BeaconError: the answer to a request; the replies before it are returned first.
        """
        taken: list[tuple[Any, wire.R]] = []
        while self._answers:
            request, answer = self._answers[0]
            if isinstance(answer, errors.BeaconError):
                if taken:
                    break
                self._answers.popleft()
                raise answer
            self._answers.popleft()
            if isinstance(request, verb.request):
                taken.append((request, cast("wire.R", answer)))
        return taken

    def _check_generation(self) -> None:
        if self._generation != self._shared.generation:
            raise bus_client.LedgerChanged("the store has another ledger than before")
