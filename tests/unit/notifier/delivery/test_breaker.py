import math

import pytest

from beacon.domain import model
from beacon.notifier.delivery import breaker, suspicion

RULES = breaker.BreakerRules(threshold=5, probe_interval_s=1.0, timeout_s=30.0)


def request(delivery: int, status: int, *, attempt: int = 1) -> suspicion.MadeRequest:
    return suspicion.MadeRequest(
        delivery=delivery,
        generation=0,
        attempt=attempt,
        counted=0,
        type=model.EventType.CREATED,
        code=str(status),
        status=status,
    )


def fail(
    state: breaker.CircuitBreaker, *deliveries: int, status: int = 0, now: float = 0.0
) -> list[breaker.BreakerVerdict]:
    return [state.answered(request(delivery, status), duration_s=0.1, now=now) for delivery in deliveries]


def probe(
    state: breaker.CircuitBreaker, delivery: int, status: int, *, now: float, ends: float
) -> breaker.BreakerVerdict:
    state.probe_sent(now)
    return state.answered(request(delivery, status), duration_s=ends - now, now=ends, probe=True)


def opened(*, status: int = 0, now: float = 0.0) -> breaker.CircuitBreaker:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1, 2, 3, 4, status=status, now=now - 0.5)
    fail(state, 5, status=status, now=now)
    assert state.open
    return state


def test_a_failure_counts_when_another_event_is_answered_before_the_breaker_opens() -> None:
    state = breaker.CircuitBreaker(rules=RULES)

    (failed,) = fail(state, 1)
    verdict = state.answered(request(2, 200), duration_s=0.1, now=0.2)

    assert not failed.counted
    assert [charged.delivery for charged in verdict.charged] == [1]


def test_an_answer_says_nothing_about_what_failed_while_it_was_under_way() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1, now=1.0)

    assert state.answered(request(2, 200), duration_s=0.5, now=1.2).charged == ()
    later = state.answered(request(3, 404), duration_s=0.1, now=1.3)
    assert [charged.delivery for charged in later.charged] == [1]


@pytest.mark.parametrize("before", [200, 404, 500])
def test_an_accepted_event_has_the_same_effect_as_any_answer_while_nothing_is_in_doubt(before: int) -> None:
    fully, shortly = breaker.CircuitBreaker(rules=RULES), breaker.CircuitBreaker(rules=RULES)
    for state in (fully, shortly):
        state.answered(request(1, before), duration_s=0.1, now=1.0)
        assert not state.in_doubt

    assert fully.answered(request(2, 200), duration_s=0.2, now=2.0) == breaker.ACCEPTED
    assert shortly.accepted(duration_s=0.2, now=2.0) == breaker.ACCEPTED
    assert fully == shortly


def test_a_failure_is_in_doubt_until_it_counts() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1)
    before = state.in_doubt
    state.answered(request(2, 200), duration_s=0.1, now=0.2)

    assert (before, state.in_doubt) == (True, False)
    assert opened().in_doubt


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 599])
def test_an_answer_that_is_not_proper_charges_nothing_and_ends_the_row(status: int) -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1, 2, 3, 4, now=1.0)

    assert state.answered(request(9, status), duration_s=0.1, now=2.0).charged == ()
    assert state.failures == 0


def test_an_endpoint_that_goes_on_answering_others_is_not_down() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    for tenth in range(50):
        fail(state, *range(10, 30), status=503, now=tenth / 10)
        assert not state.open
        state.answered(request(9, 204), duration_s=0.01, now=tenth / 10)

    assert not any(verdict.opened for verdict in fail(state, 1, 2, 3, 4, 5, now=5.3))
    assert fail(state, 6, now=5.9)[0].opened


def test_a_down_endpoint_is_noticed_although_nothing_more_is_sent() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1, 2, 3, 4, 5, now=10.0)

    assert state.plan(10.1) == breaker.ClaimPlan(mode=breaker.BreakerMode.FULL, until=10.5)
    assert not state.detect_outage(10.4)
    assert state.detect_outage(10.5)
    assert state.open
    assert not state.detect_outage(11.0)


def test_few_failures_make_no_outage_however_long_they_last() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1, 2, 3, 4, now=10.0)

    assert not state.detect_outage(100.0)


def test_while_nothing_answers_one_request_is_begun_at_a_time_and_20_a_second() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1, 2, 3, 4, now=10.0)
    assert state.next_request_at(under_way=4) == -math.inf

    fail(state, 5, now=10.0)
    state.begun(10.1)
    assert state.next_request_at(under_way=1) is None
    assert state.next_request_at(under_way=0) == pytest.approx(10.15)


def test_complete_answers_do_not_slow_the_sending_down() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, *range(20), status=503, now=10.0)

    assert state.next_request_at(under_way=4) == -math.inf


def test_a_failure_is_charged_once() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1)
    assert state.answered(request(2, 200), duration_s=0.1, now=0.2).charged

    assert state.answered(request(3, 200), duration_s=0.1, now=0.4).charged == ()


def test_a_proper_answer_to_the_event_itself_charges_none_of_its_own_failures() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    fail(state, 1)

    own = state.answered(request(1, 400, attempt=2), duration_s=0.1, now=0.2)
    other = state.answered(request(2, 404), duration_s=0.1, now=0.4)

    assert own.charged == ()
    assert [(charged.delivery, charged.counted, charged.latest) for charged in other.charged] == [(1, 1, 2)]


def test_the_run_that_opens_the_breaker_is_forgiven() -> None:
    state = breaker.CircuitBreaker(rules=RULES)

    verdicts = [*fail(state, 1, 2, 3, 4), *fail(state, 5, now=0.5)]
    closing = state.answered(request(9, 200), duration_s=0.1, now=1.0)

    assert [verdict.opened for verdict in verdicts] == [False, False, False, False, True]
    assert not any(verdict.counted for verdict in verdicts)
    assert all(verdict.forgiven for verdict in verdicts)
    assert closing.charged == ()


def test_an_answer_in_between_keeps_the_breaker_closed() -> None:
    state = breaker.CircuitBreaker(rules=RULES)

    fail(state, 1, 2, 3, 4)
    state.answered(request(9, 400), duration_s=0.1, now=0.0)
    fail(state, 5, 6, 7, 8)

    assert not state.open


def test_a_500_is_the_events_own_and_counts_at_once() -> None:
    state = breaker.CircuitBreaker(rules=RULES)

    verdicts = fail(state, *range(100), status=500)

    assert all(verdict.counted and not verdict.forgiven for verdict in verdicts)
    assert not state.open


def test_a_threshold_of_0_never_opens_and_everything_counts() -> None:
    state = breaker.CircuitBreaker(rules=breaker.BreakerRules(threshold=0, probe_interval_s=1.0, timeout_s=30.0))

    verdicts = fail(state, *range(100))

    assert all(verdict.counted and not verdict.forgiven for verdict in verdicts)
    assert state.plan(0.0).mode is breaker.BreakerMode.FULL


def test_a_threshold_of_1_opens_half_a_second_after_the_first_failure() -> None:
    state = breaker.CircuitBreaker(rules=breaker.BreakerRules(threshold=1, probe_interval_s=1.0, timeout_s=30.0))
    fail(state, 1, now=10.0)

    assert state.detect_outage(10.5)


def test_a_probe_goes_out_every_interval_while_nothing_answers() -> None:
    state = opened(now=100.0)

    assert state.plan(100.5) == breaker.ClaimPlan(mode=breaker.BreakerMode.HELD, until=101.0)
    assert state.plan(101.0).mode is breaker.BreakerMode.PROBE
    verdict = probe(state, 6, 0, now=101.0, ends=101.1)
    assert verdict.forgiven
    assert not verdict.counted
    assert state.plan(101.5) == breaker.ClaimPlan(mode=breaker.BreakerMode.HELD, until=102.0)


def test_the_interval_runs_from_the_start_of_a_probe_so_that_a_hanging_one_is_followed_at_once() -> None:
    state = opened(now=100.0)

    probe(state, 6, 0, now=101.0, ends=103.0)

    assert state.plan(103.0).mode is breaker.BreakerMode.PROBE


def test_only_one_probe_is_under_way_at_a_time() -> None:
    state = opened(now=100.0)
    state.probe_sent(101.0)

    assert state.plan(110.0) == breaker.ClaimPlan(mode=breaker.BreakerMode.HELD)


def test_after_a_complete_503_the_next_never_attempted_event_goes_at_once_at_most_20_a_second() -> None:
    state = opened(status=503, now=100.0)

    assert state.plan(100.01) == breaker.ClaimPlan(mode=breaker.BreakerMode.HELD, until=100.05)
    assert state.plan(100.06) == breaker.ClaimPlan(mode=breaker.BreakerMode.FRESH, until=101.0)
    probe(state, 6, 503, now=100.06, ends=100.07)
    assert state.plan(100.08).mode is breaker.BreakerMode.HELD
    assert state.plan(100.12) == breaker.ClaimPlan(mode=breaker.BreakerMode.FRESH, until=101.06)


def test_after_an_incomplete_answer_never_attempted_events_wait_for_the_interval_too() -> None:
    state = opened(status=503, now=100.0)

    probe(state, 6, 0, now=100.06, ends=100.2)

    assert state.plan(100.5) == breaker.ClaimPlan(mode=breaker.BreakerMode.HELD, until=101.06)


def test_any_other_complete_answer_closes_the_breaker() -> None:
    for status in (200, 302, 404, 429, 500, 501):
        state = opened(now=100.0)

        verdict = probe(state, 6, status, now=101.0, ends=101.1)

        assert verdict.closed
        assert verdict.counted
        assert state.plan(101.1).mode is breaker.BreakerMode.FULL
        assert state.failures == 0


def test_a_late_answer_to_a_request_sent_before_the_opening_closes_the_breaker() -> None:
    state = opened(now=100.0)

    assert state.answered(request(6, 200), duration_s=5.0, now=100.5).closed


def test_a_late_failure_of_a_request_sent_before_the_opening_is_forgiven() -> None:
    state = opened(now=100.0)

    (late,) = fail(state, 6, now=100.5)

    assert late.forgiven
    assert not late.counted
    assert not late.opened


def test_a_failure_of_a_request_sent_before_the_recovery_is_not_counted() -> None:
    state = opened(now=100.0)
    probe(state, 6, 200, now=101.0, ends=101.1)

    late = state.answered(request(7, 0), duration_s=5.0, now=101.5)
    fresh = state.answered(request(8, 0), duration_s=0.2, now=101.6)

    assert late == breaker.BreakerVerdict(counted=False, forgiven=True, overtaken=True)
    assert not fresh.overtaken
    assert state.failures == 1


def test_an_event_that_fails_again_after_another_was_answered_keeps_its_backoff() -> None:
    state = opened(now=100.0)
    probe(state, 6, 200, now=101.0, ends=101.1)

    fail(state, 1, now=102.0)
    verdict = state.answered(request(7, 200), duration_s=0.1, now=102.2)

    assert [charged.delivery for charged in verdict.charged] == [1]


def test_a_probes_deadline_is_twice_the_slowest_proper_answer_but_2_s_at_least() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    assert state.deadline_s(probe=True) == 30

    state.answered(request(1, 200), duration_s=0.3, now=0.0)
    assert state.deadline_s(probe=True) == 2

    state.answered(request(1, 500), duration_s=4.0, now=0.0)
    assert state.deadline_s(probe=True) == 8
    assert state.deadline_s(probe=False) == 30

    state.answered(request(1, 200), duration_s=29.0, now=0.0)
    assert state.deadline_s(probe=True) == 30


def test_a_slow_failure_does_not_lengthen_the_deadline_of_probes() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    state.answered(request(1, 200), duration_s=0.1, now=0.0)

    state.answered(request(2, 504), duration_s=25.0, now=0.0)

    assert state.deadline_s(probe=True) == 2


def test_a_pause_holds_everything_while_closed() -> None:
    state = breaker.CircuitBreaker(rules=RULES)

    state.pause(20.0, 100.0)

    assert not state.admits(119.0)
    assert state.plan(119.0) == breaker.ClaimPlan(mode=breaker.BreakerMode.PAUSED, until=120.0)
    assert state.plan(120.0).mode is breaker.BreakerMode.FULL


def test_a_pause_never_delays_a_probe() -> None:
    state = breaker.CircuitBreaker(rules=RULES)
    state.pause(300.0, 100.0)

    fail(state, 1, 2, 3, 4, 5, now=100.0)
    assert state.detect_outage(100.5)

    assert state.plan(101.5).mode is breaker.BreakerMode.PROBE


def answered_once(now: float) -> breaker.CircuitBreaker:
    state = breaker.CircuitBreaker(rules=RULES)
    state.answered(request(9, 200), duration_s=0.1, now=now)
    return state


def test_silence_of_as_many_requests_as_failures_would_open_it_opens_the_breaker() -> None:
    state = answered_once(100.0)

    assert not state.detect_silence([100.1] * 5, 102.0)
    assert not state.detect_silence([100.1] * 4, 103.0)
    assert state.detect_silence([100.1] * 5, 103.0) == 5
    assert state.open
    assert state.plan(104.0).mode is breaker.BreakerMode.PROBE


def test_failures_and_silence_add_up() -> None:
    state = answered_once(100.0)
    fail(state, 1, 2, 3, now=101.0)

    assert not state.detect_silence([100.5], 103.0)
    assert state.detect_silence([100.5, 100.6], 103.0) == 5


def test_a_proper_answer_ends_the_silence() -> None:
    state = answered_once(102.0)

    assert not state.detect_silence([100.1] * 5, 103.0)


def test_an_endpoint_that_has_never_answered_gets_its_full_timeout() -> None:
    assert not breaker.CircuitBreaker(rules=RULES).detect_silence([100.0] * 50, 129.0)


def test_silence_does_not_open_a_disabled_breaker() -> None:
    state = breaker.CircuitBreaker(rules=breaker.BreakerRules(threshold=0, probe_interval_s=1.0, timeout_s=30.0))
    state.answered(request(9, 200), duration_s=0.1, now=100.0)

    assert not state.detect_silence([100.1] * 50, 129.0)
