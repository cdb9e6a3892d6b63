import pytest

from beacon.dev.endpoint import checks, record
from tests.unit import endpoint_events as sent


class Sink:
    """A record with a clock that is set by hand."""

    def __init__(self, keep: int = 100) -> None:
        self.record = record.SinkRecord(keep=keep)
        self.now_s = 1000.0

    def begin(self, body: bytes) -> record.SinkAttempt:
        event = checks.read(body, checks.Demands())
        assert isinstance(event, checks.CheckedEnvelope)
        request = record.SinkRequest(
            at_s=event.time_s + 0.25, started_s=self.now_s, method="POST", path="/", headers=[], body=body
        )
        return self.record.begin(request, event)

    def answer(self, attempt: record.SinkAttempt, answer: record.Answer = 200) -> None:
        if isinstance(answer, int) and answer < 300:
            self.record.accept(attempt)
        self.record.end(attempt, answer, self.now_s)

    def take(self, body: bytes, answer: record.Answer = 200) -> record.SinkAttempt:
        attempt = self.begin(body)
        self.answer(attempt, answer)
        return attempt

    @property
    def stats(self) -> record.Stats:
        return self.record.stats()


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_an_id_counts_as_seen_only_when_it_was_accepted(sink: Sink) -> None:
    sink.take(sent.body("web", 1), 500)
    sink.take(sent.body("web", 1), record.SinkOutcome.ABANDONED)
    assert not sink.record.seen("id-1")
    assert (sink.stats.accepted, sink.stats.unaccepted) == (0, 1)

    last = sink.take(sent.body("web", 1))

    assert sink.record.seen("id-1")
    assert (sink.stats.accepted, sink.stats.unaccepted, sink.stats.duplicates, last.number) == (1, 0, 0, 3)
    assert sink.stats.by_status == {"500": 1, "abandoned": 1, "200": 1}


def test_the_same_id_accepted_twice_is_a_duplicate_and_no_order_violation(sink: Sink) -> None:
    sink.take(sent.body("web", 1))
    sink.take(sent.body("web", 2, previous=1))
    again = sink.take(sent.body("web", 1))

    assert (sink.stats.duplicates, sink.stats.order_violations, sink.stats.distinct) == (1, 0, 2)
    assert again.duplicate


def test_an_earlier_event_after_a_later_one_of_its_object_violates_the_order(sink: Sink) -> None:
    sink.take(sent.body("web", 2))
    sink.take(sent.body("web", 1))

    assert sink.stats.order_violations == 1
    assert "order: /ConfigMap/shop/web sent 1 after 2" in sink.stats.violations


def test_order_is_judged_per_object_and_per_ledger(sink: Sink) -> None:
    sink.take(sent.body("web", 5))
    sink.take(sent.body("other", 4))
    sink.take(sent.body("web", 3, ledgerid="ledger-2"))

    assert sink.stats.order_violations == 0


def test_an_event_marked_as_redelivered_may_come_late(sink: Sink) -> None:
    sink.take(sent.body("web", 2))
    sink.take(sent.body("web", 1, redelivered=True))

    assert sink.stats.order_violations == 0


def test_two_requests_of_one_object_in_flight_overlap(sink: Sink) -> None:
    first = sink.begin(sent.body("web", 1))
    second = sink.begin(sent.body("web", 2, previous=1))
    sink.answer(first)
    sink.answer(second)

    assert (sink.stats.overlaps, sink.stats.in_flight, sink.stats.in_flight_peak) == (1, 0, 2)


def test_requests_of_two_objects_do_not_overlap(sink: Sink) -> None:
    first, second = sink.begin(sent.body("web", 1)), sink.begin(sent.body("other", 2))
    sink.answer(first)
    sink.answer(second)

    assert sink.stats.overlaps == 0


def test_a_client_that_left_and_sends_again_does_not_overlap_with_itself(sink: Sink) -> None:
    first = sink.begin(sent.body("web", 1))
    second = sink.begin(sent.body("web", 1))
    sink.answer(first, record.SinkOutcome.HUNG)
    sink.answer(second)

    assert sink.stats.overlaps == 0


def test_a_client_that_leaves_long_after_it_sent_again_overlaps(sink: Sink) -> None:
    first = sink.begin(sent.body("web", 1))
    second = sink.begin(sent.body("web", 1))
    assert sink.stats.overlaps == 1
    sink.now_s += 1
    sink.answer(first, record.SinkOutcome.ABANDONED)
    sink.answer(second)

    assert sink.stats.overlaps == 1


def test_a_hole_in_the_chain_is_reported_until_it_is_filled(sink: Sink) -> None:
    sink.take(sent.body("web", 2, previous=1))
    assert sink.stats.chain_gaps == 1
    assert "hole: /ConfigMap/shop/web never showed 1" in sink.stats.violations

    sink.take(sent.body("web", 1, redelivered=True))

    assert sink.stats.chain_gaps == 0


def test_another_objects_event_does_not_fill_a_hole(sink: Sink) -> None:
    sink.take(sent.body("other", 1))
    sink.take(sent.body("web", 2, previous=1))

    assert sink.stats.chain_gaps == 1


def test_events_accepted_before_a_reset_are_not_missed_after_it(sink: Sink) -> None:
    sink.take(sent.body("web", 1))
    sink.record.reset()
    sink.take(sent.body("web", 2, previous=1))
    assert (sink.stats.accepted, sink.stats.chain_gaps) == (1, 0)

    sink.take(sent.body("web", 9, previous=8))

    assert sink.stats.chain_gaps == 1


def test_a_request_that_was_open_at_a_reset_is_forgotten(sink: Sink) -> None:
    attempt = sink.begin(sent.body("web", 1))
    sink.record.reset()
    sink.answer(attempt)

    assert (sink.stats.requests, sink.stats.accepted, sink.stats.in_flight) == (0, 0, 0)


def test_another_body_under_the_same_id_is_noticed(sink: Sink) -> None:
    sink.take(sent.body("web", 1), 500)
    sink.take(sent.body("web", 1, redelivered=True), 500)
    assert sink.stats.altered == 0

    sink.take(sent.body("web", 1, ledgerid="other"))

    assert sink.stats.altered == 1


def test_bodies_are_kept_up_to_the_limit_and_counted_beyond_it() -> None:
    sink = Sink(keep=3)
    for sequence in range(1, 11):
        sink.take(sent.body("web", sequence, previous=sequence - 1))

    assert [attempt.index for attempt in sink.record.accepted] == [8, 9, 10]
    assert len(sink.record.attempts) == 3
    assert (sink.stats.accepted, sink.stats.chain_gaps) == (10, 0)


def test_a_refused_request_is_counted_apart(sink: Sink) -> None:
    request = record.SinkRequest(at_s=1.0, started_s=1.0, method="GET", path="/", headers=[], body=b"")
    sink.record.refuse(request, checks.CheckRefusal(status=405, reason="no"), 1.0)

    assert (sink.stats.requests, sink.stats.refused, sink.stats.by_status) == (1, 1, {"405": 1})


def test_latency_runs_from_the_events_time_to_the_receipt(sink: Sink) -> None:
    sink.take(sent.body("web", 1))

    assert sink.stats.latency_s.count == 1
    assert sink.stats.latency_s.p50 == pytest.approx(0.25, rel=0.01)
    assert sink.stats.latency_s.max == pytest.approx(0.25, abs=1e-6)
