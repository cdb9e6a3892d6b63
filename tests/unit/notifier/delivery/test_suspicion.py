"""Failures whose cause is not known yet: their number and what is known of their events."""

from beacon.domain import model
from beacon.notifier.delivery import suspicion


def request(delivery: int, *, attempt: int = 1, counted: int = 0, generation: int = 0) -> suspicion.MadeRequest:
    return suspicion.MadeRequest(
        delivery=delivery, generation=generation, attempt=attempt, counted=counted, type=model.EventType.CREATED
    )


def charged(state: suspicion.Suspicions, *, sent_at: float = 100.0) -> list[tuple[int, int, int, int]]:
    found = state.charge(sent_at=sent_at, own=0)
    return [(one.delivery, one.attempt, one.counted, one.latest) for one in found]


def test_each_failure_of_an_event_counts_once_more_and_names_the_latest_attempt() -> None:
    state = suspicion.Suspicions()
    state.add(request(1, attempt=3, counted=1), 1.0)
    state.add(request(1, attempt=4, counted=1), 2.0)

    assert charged(state) == [(1, 3, 1, 4), (1, 4, 2, 4)]


def test_only_failures_from_before_the_request_count() -> None:
    state = suspicion.Suspicions()
    state.add(request(1), 1.0)
    state.add(request(2), 2.0)

    assert charged(state, sent_at=2.0) == [(1, 1, 0, 1)]
    assert charged(state) == [(2, 1, 0, 1)]


def test_nothing_counts_against_a_finished_event() -> None:
    state = suspicion.Suspicions()
    state.add(request(1), 1.0)
    state.add(request(2), 1.0)
    state.finished(1)

    assert charged(state) == [(2, 1, 0, 1)]


def test_a_redelivered_event_does_not_answer_for_its_earlier_generation() -> None:
    state = suspicion.Suspicions()
    state.add(request(1), 1.0)
    state.finished(1)
    state.add(request(1, generation=1), 2.0)

    assert charged(state) == [(1, 1, 0, 1)]


def test_the_failures_of_the_answered_event_itself_stay_in_order() -> None:
    state = suspicion.Suspicions()
    for number, failed_at in enumerate([1.0, 2.0, 3.0]):
        state.add(request(1 + number % 2, attempt=number + 1), failed_at)

    assert [one.delivery for one in state.charge(sent_at=100.0, own=1)] == [2]
    assert [attempt for _, attempt, _, _ in charged(state)] == [1, 3]


def test_an_outage_without_end_keeps_a_bounded_number() -> None:
    state = suspicion.Suspicions()
    for number in range(25_000):
        state.add(request(number), float(number))

    assert len(state._failures) == len(state._events) == 10_000
    assert charged(state, sent_at=1e9)[0][0] == 15_000
