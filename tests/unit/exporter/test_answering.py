"""At most two threads compute the answers of a route, for any number of requests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from beacon.exporter import answering
from tests.integration import processes


@contextmanager
def working(one: answering.Answering[int]) -> Iterator[None]:
    threads = [threading.Thread(target=one.work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        one.stop()
        for thread in threads:
            thread.join()


class Counted:
    """A route that blocks until released, and records the requested formats."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let_go = threading.Event()
        self.delivered: list[tuple[list[int], str]] = []

    def answer(self, wanted: str) -> answering.HttpAnswer:
        self.asked.append(wanted)
        self.let_go.wait(60)
        return answering.plain(HTTPStatus.OK, wanted)

    def deliver(self, clients: list[int], answer: answering.HttpAnswer) -> None:
        self.delivered.append((clients, answer.body.decode().strip()))

    def made(self, choose: Callable[[str], str]) -> answering.Answering[int]:
        return answering.Answering(answering.Route(self.answer, choose=choose), self.deliver)


def test_waiting_clients_share_one_answer_that_was_started_after_their_requests() -> None:
    route = Counted()
    one = route.made(lambda accept: accept[:1])
    with working(one):
        for client in range(2):
            one.ask(client, "a")
            processes.wait_for(lambda: len(route.asked) == client + 1, "a thread at work")  # noqa: B023  called at once
        for client in range(2, 100):
            one.ask(client, f"b{client}")
        route.let_go.set()
        processes.wait_for(lambda: len(route.delivered) == 3, "all answers")

    assert route.asked == ["a", "a", "b"]
    assert sorted(clients for clients, _ in route.delivered) == [[0], [1], list(range(2, 100))]


def test_each_format_has_an_answer_of_its_own() -> None:
    route = Counted()
    route.let_go.set()
    one = route.made(str)
    with working(one):
        for client, accept in enumerate(["x", "y", "z"]):
            one.ask(client, accept)
        processes.wait_for(lambda: len(route.delivered) == 3, "all answers")

    assert {(clients[0], said) for clients, said in route.delivered} == {(0, "x"), (1, "y"), (2, "z")}
