"""One loop with many requests: each ends by itself, and no connection holds up another."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from beacon.notifier.transport import answer, connection, connector, event_loop, http_sender, response_parser, route
from tests.unit.notifier import endpoints, running

pytestmark = pytest.mark.timeout(300)


class Looped:
    """A sender with its loop, and the answers that it gave."""

    def __init__(self, url: str, *, width: int = 8, idle_timeout_s: float = 3600.0) -> None:
        self.loop = event_loop.EventLoop()
        self.threads = 0
        self.faults: list[Exception] = []
        self.answers: dict[str, answer.EndpointAnswer] = {}
        target = route.Target(url=url, method="POST", agent="b", width=width, idle_timeout_s=idle_timeout_s)
        self.sender = http_sender.HttpSender(
            target, token=lambda: "", loop=self.loop, start=self._start, on_fault=self.faults.append
        )

    def _start(self, name: str, work: Callable[[], None]) -> None:
        self.threads += 1
        running.start(name, work)

    def send(self, event: str, *, timeout_s: float = 3600.0, size: int = 2) -> None:
        self.sender.send(
            b"{}".ljust(size), event_id=event, timeout_s=timeout_s, done=lambda reply: self._take(event, reply)
        )

    def _take(self, event: str, reply: answer.EndpointAnswer) -> None:
        assert event not in self.answers
        self.answers[event] = reply

    def run_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < until
            self.loop.run_once(0.05)

    def codes(self, *events: str) -> list[str]:
        """Wait for the answers to these events and return their codes."""
        self.run_until(lambda: set(events) <= set(self.answers))
        return [self.answers[event].code for event in events]

    @property
    def idle(self) -> int:
        return len(self.sender._connections.idle)

    def close(self) -> None:
        self.sender.close()
        self.loop.close()


@pytest.fixture
def endpoint() -> Iterator[endpoints.Endpoint]:
    served = endpoints.Endpoint()
    yield served
    served.down()


@pytest.fixture
def looped(endpoint: endpoints.Endpoint) -> Iterator[Looped]:
    with contextlib.closing(Looped(endpoint.url)) as made:
        yield made


def test_open_connections_are_used_without_further_threads(looped: Looped, endpoint: endpoints.Endpoint) -> None:
    for number in range(50):
        looped.send(f"e{number}")
        looped.codes(f"e{number}")

    assert len(endpoint.received) == 50
    assert (endpoint.connections, looped.threads, looped.idle) == (1, 1, 1)


def test_a_request_that_hangs_does_not_hold_up_the_others(looped: Looped, endpoint: endpoints.Endpoint) -> None:
    release = threading.Event()

    def behave(request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        if request.headers["x-beacon-event-id"] == "hangs":
            release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    looped.send("hangs")
    for number in range(20):
        looped.send(f"e{number}")
        looped.codes(f"e{number}")
    assert "hangs" not in looped.answers

    release.set()

    assert looped.codes("hangs") == ["204"]


def test_an_endpoint_that_reads_slowly_does_not_hold_up_other_connections(
    looped: Looped, endpoint: endpoints.Endpoint
) -> None:
    read_on = threading.Event()
    read = endpoints._read

    def read_later(reader: object, number: int) -> endpoints.Received | None:
        if number == 1:
            read_on.wait(300)
        return read(reader, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoints, "_read", read_later)
        looped.send("large", size=8_000_000)
        looped.run_until(lambda: endpoint.connections == 1)
        for number in range(10):
            looped.send(f"e{number}")
            looped.codes(f"e{number}")
        assert "large" not in looped.answers

        read_on.set()

        assert looped.codes("large") == ["204"]


def test_an_idle_connection_that_the_endpoint_closes_is_closed_at_once(
    looped: Looped, endpoint: endpoints.Endpoint
) -> None:
    looped.send("first")
    looped.codes("first")
    assert looped.idle == 1

    endpoint.drop()

    looped.run_until(lambda: looped.idle == 0)


def test_a_connection_that_is_idle_for_too_long_is_closed_without_another_request(
    endpoint: endpoints.Endpoint,
) -> None:
    with contextlib.closing(Looped(endpoint.url, idle_timeout_s=0.05)) as looped:
        looped.send("first")
        looped.codes("first")

        looped.run_until(lambda: looped.idle == 0)


def test_requests_expire_by_the_time_of_their_sending(looped: Looped, endpoint: endpoints.Endpoint) -> None:
    release = threading.Event()

    def behave(_request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    looped.send("early")
    looped.run_until(lambda: len(endpoint.received) == 1)
    between = time.monotonic()
    looped.send("late")
    looped.run_until(lambda: len(endpoint.received) == 2)

    looped.sender.expire(between)

    assert looped.codes("early") == ["timeout"]
    assert "late" not in looped.answers
    release.set()
    assert looped.codes("late") == ["204"]


def test_an_unexpected_error_on_one_connection_is_the_answer_to_its_request_alone(
    looped: Looped, endpoint: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = response_parser.ResponseParser.feed

    def fail(parser: response_parser.ResponseParser, data: bytes) -> response_parser.EndpointResponse | None:
        if b"500" in data:
            raise MemoryError("of the test")
        return feed(parser, data)

    monkeypatch.setattr(response_parser.ResponseParser, "feed", fail)
    endpoint.behave = lambda request, _line: endpoints.Reply(
        500 if request.headers["x-beacon-event-id"] == "bad" else 204
    )
    looped.send("bad")
    looped.send("good")

    assert looped.codes("bad", "good") == ["internal", "204"]
    assert looped.answers["bad"].error == "unexpected MemoryError, see the log"
    assert [type(fault) for fault in looped.faults] == [MemoryError]


def test_an_unexpected_error_while_a_connection_is_opened_is_the_answer_to_its_request(
    looped: Looped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> list[str]:
        raise RuntimeError("of the test")

    monkeypatch.setattr(connection.Resolver, "resolve", fail)
    looped.send("bad")

    assert looped.codes("bad") == ["internal"]
    assert [str(fault) for fault in looped.faults] == ["of the test"]


def test_a_request_for_which_no_thread_can_be_started_fails_alone(
    looped: Looped, endpoint: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_name: str, _work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(looped.sender._connector, "_start", refuse)
        looped.send("bad")
        assert looped.codes("bad") == ["internal"]

    looped.send("good")
    assert looped.codes("good") == ["204"]
    assert [str(fault) for fault in looped.faults] == ["can't start new thread"]
    assert [request.headers["x-beacon-event-id"] for request in endpoint.received] == ["good"]


def test_an_unexpected_error_before_a_request_is_sent_is_its_answer(
    looped: Looped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise ValueError("of the token's file")

    monkeypatch.setattr(looped.sender, "_token", fail)
    looped.send("bad")

    assert looped.codes("bad") == ["internal"]
    assert [str(fault) for fault in looped.faults] == ["of the token's file"]


def test_an_error_in_a_callback_is_reported_and_does_not_leave_the_loop(looped: Looped) -> None:
    broken: list[Exception] = []
    looped.sender.on_broken(broken.append)

    def fail(_reply: answer.EndpointAnswer) -> None:
        raise KeyError("of the test")

    looped.sender.send(b"{}", event_id="bad", timeout_s=3600.0, done=fail)
    looped.send("good")

    assert looped.codes("good") == ["204"]
    looped.run_until(lambda: bool(broken))
    assert [type(error) for error in broken] == [KeyError]


def test_after_a_reset_earlier_requests_get_no_answer_and_later_ones_are_sent(
    looped: Looped, endpoint: endpoints.Endpoint
) -> None:
    release = threading.Event()

    def behave(request: endpoints.Received, _line: socket.socket) -> endpoints.Reply:
        if request.headers["x-beacon-event-id"].startswith("early"):
            release.wait(300)
        return endpoints.Reply()

    endpoint.behave = behave
    looped.send("first")
    looped.codes("first")
    looped.send("early")
    looped.run_until(lambda: len(endpoint.received) == 2)
    looped.send("early, while its connection is being opened")

    looped.sender.reset()

    assert looped.idle == 0
    looped.run_until(lambda: not looped.sender._connector._openings)
    release.set()
    looped.send("late")
    assert looped.codes("late") == ["204"]
    assert looped.answers.keys() == {"first", "late"}


def test_a_connection_that_is_open_too_late_is_closed(
    looped: Looped, endpoint: endpoints.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = connection.Resolver.resolve
    go_on = threading.Event()

    def late(resolver: connection.Resolver, host: str, port: int, *, until: float) -> list[str]:
        go_on.wait(300)
        return resolve(resolver, host, port, until=time.monotonic() + 60)

    monkeypatch.setattr(connection.Resolver, "resolve", late)
    looped.send("late", timeout_s=0.1)
    assert looped.codes("late") == ["timeout"]

    go_on.set()
    looped.run_until(lambda: not looped.sender._connector._openings)

    assert looped.idle == 0
    assert endpoint.received == []


def test_a_thread_that_stays_stuck_while_it_opens_a_connection_is_detected(
    looped: Looped, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, entered = threading.Event(), threading.Event()

    def stuck(*_: object, **__: object) -> list[str]:
        entered.set()
        go_on.wait(300)
        return []

    monkeypatch.setattr(connection.Resolver, "resolve", stuck)
    looped.send("stuck", timeout_s=600.0)
    looped.run_until(entered.is_set)
    now = time.monotonic()
    looped.sender.expire(now)
    assert looped.codes("stuck") == ["timeout"]

    late = now + 600.0 + 2 * connector._GRACE_S
    assert not looped.sender.is_stuck(now)
    assert looped.sender.is_stuck(late)
    go_on.set()
    looped.run_until(lambda: not looped.sender.is_stuck(late))


def test_threads_that_stay_stuck_do_not_become_ever_more(looped: Looped, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, entered = threading.Event(), threading.Semaphore(0)

    def stuck(*_: object, **__: object) -> list[str]:
        entered.release()
        go_on.wait(300)
        raise OSError("let go")

    monkeypatch.setattr(connection.Resolver, "resolve", stuck)
    for number in range(connector._MOST_STUCK):
        looped.send(f"stuck{number}", timeout_s=600.0)
        looped.run_until(lambda: entered.acquire(blocking=False))
    monkeypatch.setattr(connector, "_GRACE_S", -600.0)

    looped.send("refused", timeout_s=600.0)
    looped.codes("refused")
    refused = looped.answers["refused"]
    assert (refused.code, refused.error) == (
        answer.NETWORK,
        "8 earlier attempts to connect hang in the operating system",
    )
    assert looped.threads == connector._MOST_STUCK
    assert looped.faults == []

    go_on.set()
    looped.run_until(lambda: not looped.sender._connector._openings)
    looped.send("after", timeout_s=60.0)
    looped.run_until(lambda: "after" in looped.answers)
    assert "let go" in looped.answers["after"].error


def test_a_name_is_looked_up_again_if_no_thread_could_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = connection.Resolver()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            resolver.resolve("localhost", 80, until=time.monotonic() + 60)

    assert resolver.resolve("localhost", 80, until=time.monotonic() + 60)
