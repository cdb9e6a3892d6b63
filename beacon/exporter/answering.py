"""Computes answers in worker threads: one answer serves all requests that wait for the same route.

At most two threads compute a route's answers. Requests that arrive while both are busy share the next answer. So many
requests cost as much as a few, and a slow route does not delay the others.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, TypeVar

_PLAIN = "text/plain; charset=utf-8"

Client = TypeVar("Client")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A route's answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


def plain(status: HTTPStatus, text: str) -> HttpAnswer:
    """Return an answer with a line of plain text."""
    return HttpAnswer(status=status, content_type=_PLAIN, body=f"{text}\n".encode())


def _one_format(_accept: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Route:
    """The handler of one path: `answer` is called with the format that `choose` returned for an Accept header.

    `choose` must return one of a few formats for all Accept headers, because each format is answered separately.
    """

    answer: Callable[[str], HttpAnswer]
    choose: Callable[[str], str] = _one_format


class Answering(Generic[Client]):
    """Computes the answers of one route."""

    def __init__(self, route: Route, deliver: Callable[[list[Client], HttpAnswer], None]) -> None:
        """Pass each answer to `deliver`, which is called by the threads that run `work`."""
        self._route = route
        self._deliver = deliver
        self._waiting: dict[str, list[Client]] = {}  # by format
        self._changed = threading.Condition()
        self._stopped = False

    def ask(self, client: Client, accept: str) -> None:
        """Queue a client for an answer."""
        wanted = self._route.choose(accept)
        with self._changed:
            self._waiting.setdefault(wanted, []).append(client)
            self._changed.notify()

    def stop(self) -> None:
        """Make `work` return."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def work(self) -> None:
        """Compute answers until stopped."""
        while (taken := self._take()) is not None:
            wanted, clients = taken
            self._deliver(clients, self._route.answer(wanted))

    def _take(self) -> tuple[str, list[Client]] | None:
        """Wait for requests. Return the format that was requested first, and all clients that wait for it."""
        with self._changed:
            while not self._waiting and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return None
            wanted = next(iter(self._waiting))
            return wanted, self._waiting.pop(wanted)
