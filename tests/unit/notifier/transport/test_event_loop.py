"""The loop: timers in order, callbacks from other threads, descriptors."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from beacon.notifier.transport import event_loop


@pytest.fixture
def loop() -> Iterator[event_loop.EventLoop]:
    made = event_loop.EventLoop()
    yield made
    made.close()


def test_timers_are_called_in_order_of_their_time(loop: event_loop.EventLoop) -> None:
    called: list[str] = []
    now = time.monotonic()
    loop.call_at(now + 0.02, lambda: called.append("later"))
    loop.call_at(now, lambda: called.append("now"))
    loop.call_at(now + 0.01, lambda: called.append("cancelled")).cancel()

    while len(called) < 2:
        loop.run_once(100)

    assert called == ["now", "later"]


def test_a_timer_that_a_timer_cancels_is_not_called(loop: event_loop.EventLoop) -> None:
    called: list[str] = []
    now = time.monotonic()
    second = loop.call_at(now, lambda: called.append("second"))
    loop.call_at(now - 1, second.cancel)

    loop.run_once(0)

    assert called == []


def test_a_callback_from_another_thread_wakes_the_loop(loop: event_loop.EventLoop) -> None:
    called: list[int] = []
    thread = threading.Timer(0.05, lambda: loop.post(lambda: called.append(threading.get_ident())))
    thread.start()

    while not called:
        loop.run_once(3600)  # longer than the test may take
    thread.join()

    assert called == [threading.get_ident()]


def test_a_callback_that_is_posted_by_a_callback_is_called_in_the_next_round(loop: event_loop.EventLoop) -> None:
    called: list[str] = []

    def first() -> None:
        called.append("first")
        loop.soon(lambda: called.append("second"))

    loop.soon(first)

    loop.run_once(100)
    assert called == ["first"]
    loop.run_once(100)

    assert called == ["first", "second"]


def test_a_closed_loop_takes_no_callback() -> None:
    closed = event_loop.EventLoop()
    closed.close()

    assert not closed.post(lambda: None)


def test_a_descriptor_is_watched_for_what_was_asked(loop: event_loop.EventLoop) -> None:
    ours, theirs = socket.socketpair()
    called: list[str] = []
    with ours, theirs:
        loop.watch(ours.fileno(), event_loop.READ, lambda: called.append("read"))
        loop.run_once(0)
        assert called == []
        theirs.sendall(b"x")
        loop.run_once(100)
        assert called == ["read"]
        loop.change(ours.fileno(), event_loop.WRITE, lambda: called.append("write"))
        loop.run_once(100)
        loop.unwatch(ours.fileno())
        loop.run_once(0)

    assert called == ["read", "write"]


def test_an_error_in_a_callback_of_a_share_goes_to_its_owner(loop: event_loop.EventLoop) -> None:
    failed: list[str] = []
    called: list[str] = []
    share = event_loop.LoopShare(loop, on_error=lambda error: failed.append(str(error)))

    def fail(where: str) -> None:
        raise RuntimeError(where)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        share.watch(ours.fileno(), event_loop.READ, lambda: fail("never"))
        share.change(ours.fileno(), event_loop.WRITE, lambda: fail("descriptor"))
        share.call_at(time.monotonic(), lambda: fail("timer"))
        share.post(lambda: fail("post"))
        share.soon(lambda: fail("soon"))
        loop.call_at(time.monotonic(), lambda: called.append("other"))

        loop.run_once(0)
        share.unwatch(ours.fileno())

    assert failed == ["descriptor", "post", "soon", "timer"]
    assert called == ["other"]
