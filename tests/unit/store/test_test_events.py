"""Requests for test events: each reaches the notifier and its result the command, and nothing is kept for ever."""

import pytest

from beacon import wire
from beacon.store.verbs import test_events

RESULT = wire.TestEventResult(
    id="e", type="t.test", endpoint="default", code="204", status=204, error="", seconds=0.1, request_id="r"
)


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def queue(clock: list[float]) -> test_events.TestEvents:
    return test_events.TestEvents(lambda: clock[0])


def request(queue: test_events.TestEvents, identity: str) -> wire.TestEventProgress:
    return queue.request(wire.RequestTestEvent(id=identity))


def taken(queue: test_events.TestEvents) -> str:
    return queue.take(wire.TakeTestEvent()).id


def test_a_request_is_taken_and_its_result_returned_however_often_each_is_repeated(
    queue: test_events.TestEvents,
) -> None:
    assert taken(queue) == ""
    assert request(queue, "one") == request(queue, "one") == wire.TestEventProgress(taken=False)
    assert (taken(queue), taken(queue)) == ("one", "one")
    assert request(queue, "one") == wire.TestEventProgress(taken=True)
    for _ in range(2):
        queue.report(wire.ReportTestEvent(id="one", result=RESULT))
    assert request(queue, "one").result == request(queue, "one").result == RESULT
    assert taken(queue) == ""


def test_a_request_reaches_its_endpoint_and_does_not_wait_for_another_one_under_way(
    queue: test_events.TestEvents,
) -> None:
    for name in ("slow", "quick"):
        queue.request(wire.RequestTestEvent(id=f"to {name}", endpoint=name))

    first = queue.take(wire.TakeTestEvent())
    second = queue.take(wire.TakeTestEvent(under_way=(first.id,)))

    assert (first, second) == (
        wire.TakenTestEvent(id="to slow", endpoint="slow"),
        wire.TakenTestEvent(id="to quick", endpoint="quick"),
    )
    assert queue.take(wire.TakeTestEvent(under_way=(first.id, second.id))).id == ""


def test_a_request_whose_command_is_gone_is_not_sent(queue: test_events.TestEvents, clock: list[float]) -> None:
    request(queue, "one")
    clock[0] += 6
    assert taken(queue) == ""
    queue.report(wire.ReportTestEvent(id="one", result=RESULT))
    assert request(queue, "one").result is None


def test_the_number_of_requests_is_bounded(queue: test_events.TestEvents) -> None:
    for number in range(100):
        request(queue, str(number))

    assert taken(queue) == "84"
