"""Answers, and the threads that make them: one answer for all requests of a route that wait at a time.

However many requests there are, a route is asked by two threads at most, and a request that comes while both are busy
shares the next answer with all others that wait for the same. So a flood costs as much as a few requests, and a route
that is slow delays no other.
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
    """What a route answers."""

    status: HTTPStatus
    content_type: str
    body: bytes


def plain(status: HTTPStatus, text: str) -> HttpAnswer:
    """Answer with a line of plain text."""
    return HttpAnswer(status=status, content_type=_PLAIN, body=f"{text}\n".encode())


def _one_format(_accept: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one path: `answer` is called with the format that `choose` made of an Accept header.

    `choose` must know few formats, however many Accept headers there are: each is an answer of its own.
    """

    answer: Callable[[str], HttpAnswer]
    choose: Callable[[str], str] = _one_format


class Answering(Generic[Client]):
    """Makes the answers of one route."""

    def __init__(self, route: Route, deliver: Callable[[list[Client], HttpAnswer], None]) -> None:
        """Hand each answer to `deliver`, which is called by the threads that run `work`."""
        self._route = route
        self._deliver = deliver
        self._waiting: dict[str, list[Client]] = {}  # by format
        self._changed = threading.Condition()
        self._stopped = False

    def ask(self, client: Client, accept: str) -> None:
        """Have a client answered."""
        wanted = self._route.choose(accept)
        with self._changed:
            self._waiting.setdefault(wanted, []).append(client)
            self._changed.notify()

    def stop(self) -> None:
        """Let `work` return."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def work(self) -> None:
        """Answer until stopped."""
        while (taken := self._take()) is not None:
            wanted, clients = taken
            self._deliver(clients, self._route.answer(wanted))

    def _take(self) -> tuple[str, list[Client]] | None:
        """Wait for requests; take those that want the same format as the one that has waited longest."""
        with self._changed:
            while not self._waiting and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return None
            wanted = next(iter(self._waiting))
            return wanted, self._waiting.pop(wanted)
