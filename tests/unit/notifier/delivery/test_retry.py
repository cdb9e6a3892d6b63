import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.notifier.delivery import retry

POLICY = retry.Policy(max_attempts=10, initial_s=1.0, max_s=300.0, multiplier=2.0, jitter=0.1)
AGAIN = {408, 425, 429}


@pytest.mark.parametrize("status", range(200, 300))
def test_every_2xx_is_delivered(status: int) -> None:
    assert retry.meaning(status) is retry.Meaning.DELIVERED


@pytest.mark.parametrize("status", [status for status in range(300, 500) if status not in AGAIN])
def test_every_3xx_and_other_4xx_is_refused(status: int) -> None:
    assert retry.meaning(status) is retry.Meaning.REFUSED


@pytest.mark.parametrize("status", [0, 101, *AGAIN, *range(500, 600), 600, 999])
def test_all_other_statuses_are_retried(status: int) -> None:
    assert retry.meaning(status) is retry.Meaning.AGAIN


def test_only_a_missing_answer_and_gateway_errors_are_outage_like() -> None:
    assert [status for status in (0, *range(100, 1000)) if retry.outage_like(status)] == [0, 502, 503, 504]


def test_the_backoff_starts_at_the_initial_one_and_grows_by_the_multiplier_up_to_the_maximum() -> None:
    delays = [retry.backoff_s(POLICY, requests, roll=0.0) for requests in range(11)]

    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(
    policy=st.builds(
        retry.Policy,
        max_attempts=st.just(0),
        initial_s=st.floats(0.001, 600),
        max_s=st.floats(0.001, 3600),
        multiplier=st.floats(1.0, 10.0),
        jitter=st.floats(0.0, 1.0),
    ),
    requests=st.integers(0, 100_000),
    roll=st.floats(-1.0, 1.0),
)
def test_the_backoff_is_never_negative_nor_above_the_maximum(policy: retry.Policy, requests: int, roll: float) -> None:
    plain_s = retry.backoff_s(policy, requests, roll=0.0)

    delay_s = retry.backoff_s(policy, requests, roll=roll)

    assert 0 <= delay_s <= policy.max_s
    assert plain_s * (1 - policy.jitter) * 0.999 <= delay_s <= plain_s * (1 + policy.jitter) * 1.001
    assert plain_s <= retry.backoff_s(policy, requests + 1, roll=0.0) * 1.001


def test_without_jitter_chance_changes_nothing() -> None:
    policy = retry.Policy(max_attempts=0, initial_s=1.0, max_s=60.0, multiplier=3.0, jitter=0.0)

    assert {retry.backoff_s(policy, 2, roll=roll) for roll in (-1.0, 0.0, 1.0)} == {9.0}


def test_retry_after_is_honoured_up_to_the_maximum_backoff() -> None:
    assert retry.delay_s(POLICY, 0, asked_s=3600.0, roll=0.0) == 300
    assert retry.pause_s(POLICY, 503, asked_s=3600.0) == 300


def test_only_429_and_503_pause_the_endpoint() -> None:
    assert [status for status in range(100, 600) if retry.pause_s(POLICY, status, asked_s=5.0)] == [429, 503]
    assert retry.pause_s(POLICY, 503, asked_s=None) == 0


def test_attempts_are_exhausted_at_the_maximum_and_never_without_one() -> None:
    endless = retry.Policy(max_attempts=0, initial_s=1.0, max_s=1.0, multiplier=1.0, jitter=0.0)

    assert [retry.exhausted(POLICY, counted) for counted in (0, 9, 10, 11)] == [False, False, True, True]
    assert not retry.exhausted(endless, 1_000_000)
