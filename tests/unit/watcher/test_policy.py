"""Each failure has its reaction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon import errors
from beacon.cluster import failures
from beacon.watcher import policy
from beacon.watcher.policy import FailureCause, Operation, Pace, StreamState


def refused(status: int) -> failures.ApiRefused:
    return failures.ApiRefused("m", status=status)


@pytest.mark.parametrize(
    ("failure", "operation", "expected"),
    [
        (refused(410), Operation.WATCH, (StreamState.LISTING, FailureCause.EXPIRED, Pace.QUICK, True)),
        (refused(410), Operation.LIST, (StreamState.LISTING, FailureCause.EXPIRED, Pace.QUICK, False)),
        (refused(401), Operation.LIST, (StreamState.UNAUTHORIZED, FailureCause.UNAUTHORIZED, Pace.BACKOFF, False)),
        (refused(403), Operation.WATCH, (StreamState.FORBIDDEN, FailureCause.FORBIDDEN, Pace.DENIED, False)),
        (refused(404), Operation.LIST, (StreamState.WAITING, FailureCause.ABSENT, Pace.ABSENT, False)),
        (refused(408), Operation.LIST, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (refused(429), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (refused(500), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (refused(503), Operation.DISCOVER, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (refused(504), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (refused(400), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.SLOW, False)),
        (failures.Absent("m"), Operation.DISCOVER, (StreamState.WAITING, FailureCause.ABSENT, Pace.ABSENT, False)),
        (failures.Unsuitable("m"), Operation.LIST, (StreamState.REFUSED, FailureCause.ERROR, Pace.SLOW, False)),
        (failures.Unreachable("m"), Operation.LIST, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.QUICK, False)),
        (failures.Broken("m"), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.QUICK, False)),
        (failures.Garbled("m"), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (failures.Silent("m"), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.INACTIVE, Pace.QUICK, False)),
        (failures.Stuck("m"), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.INACTIVE, Pace.QUICK, False)),
        (failures.Malformed("m"), Operation.WATCH, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, True)),
        (failures.Malformed("m"), Operation.LIST, (StreamState.UNREACHABLE, FailureCause.ERROR, Pace.BACKOFF, False)),
        (errors.PermanentError("m"), Operation.WATCH, (StreamState.REFUSED, FailureCause.ERROR, Pace.BACKOFF, False)),
    ],
)
def test_each_failure_has_its_reaction(
    failure: errors.BeaconError, operation: Operation, expected: tuple[StreamState, FailureCause, Pace, bool]
) -> None:
    reaction = policy.react(failure, operation)

    assert (reaction.state, reaction.cause, reaction.pace, reaction.relist) == expected


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("failure", [refused(403), refused(401), refused(404), failures.Absent("m")])
def test_refusals_of_a_starting_server_are_no_missing_right_and_no_absent_kind(
    failure: errors.BeaconError, operation: Operation
) -> None:
    reaction = policy.react(failure, operation, doubtful=True)

    assert reaction == policy.Reaction(state=StreamState.OPENING, cause=FailureCause.ERROR, pace=Pace.DOUBT)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_server_that_is_not_ready_is_retried_every_second(status: int) -> None:
    reaction = policy.react(refused(status), Operation.LIST, doubtful=True)

    assert reaction == policy.Reaction(state=StreamState.UNREACHABLE, cause=FailureCause.ERROR, pace=Pace.DOUBT)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 1000))
def test_a_server_that_may_be_starting_is_retried_at_once_and_then_about_every_second(
    chance: float, failed: int
) -> None:
    timing = policy.Timing()

    assert policy.pause_s(Pace.DOUBT, timing, failed=1, asked_s=None, chance=chance) < 0.3
    assert policy.pause_s(Pace.DOUBT, timing, failed=failed, asked_s=None, chance=chance) < 1.3
    assert policy.pause_s(Pace.QUICK, timing, failed=failed, asked_s=None, chance=chance) <= 1.0
    assert policy.pause_s(Pace.DENIED, timing, failed=failed, asked_s=None, chance=chance) < 5.0


@pytest.mark.parametrize("failure", [refused(500), refused(403), failures.Garbled("m")])
def test_watches_without_progress_lead_to_a_list_at_growing_intervals(
    failure: errors.BeaconError,
) -> None:
    lists = [
        without_progress
        for without_progress in range(100)
        for doubtful in (False, True)
        if policy.react(failure, Operation.WATCH, doubtful=doubtful, without_progress=without_progress).relist
    ]

    assert lists == [3, 3, 6, 6, 12, 12, 24, 24, 48, 48, 96, 96]
    assert not policy.react(failure, Operation.LIST, without_progress=3).relist


@given(st.sampled_from(Pace), st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_longer_than_its_longest_or_a_hot_loop(pace: Pace, failed: int, chance: float) -> None:
    pause_s = policy.pause_s(pace, policy.Timing(), failed=failed, asked_s=None, chance=chance)

    assert 0.05 <= pause_s <= 18.0


@given(st.floats(0, 1, exclude_max=True))
def test_the_first_pauses_are_short_and_grow(chance: float) -> None:
    timing = policy.Timing()
    pauses = [policy.pause_s(Pace.BACKOFF, timing, failed=n, asked_s=None, chance=chance) for n in range(1, 9)]

    assert pauses == sorted(pauses)
    assert pauses[0] <= timing.first_pause_s
    assert pauses[-1] <= timing.longest_pause_s


def test_the_retry_after_of_the_server_is_honored_up_to_five_minutes() -> None:
    timing = policy.Timing()

    assert policy.pause_s(Pace.BACKOFF, timing, failed=1, asked_s=7, chance=0) == 7
    assert policy.pause_s(Pace.BACKOFF, timing, failed=1, asked_s=100_000, chance=0) == 300


def test_a_missing_right_is_named_as_its_rule_is_written() -> None:
    assert 'may not "watch" "deployments" in API group "apps" in all namespaces' in policy.missing_rule(
        Operation.WATCH, "deployments", "apps", "", account="the service account"
    )
    assert "in namespace 'a'" in policy.missing_rule(Operation.LIST, "configmaps", "", "a", account="the user")


def test_a_missing_right_names_the_kind_of_credentials() -> None:
    for account in ("the service account", "the user of the kubeconfig"):
        text = policy.missing_rule(Operation.LIST, "pods", "", "", account=account)

        assert text.startswith(f'{account} may not "list" "pods"')
