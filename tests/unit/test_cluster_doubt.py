"""A refusal soon after the start of an API server is not accepted at once, but after a while it is."""

import itertools

import pytest

from beacon import errors
from beacon.cluster import doubt, failures


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(status: int) -> failures.ApiRefused:
    return failures.ApiRefused("m", status=status)


LOST = failures.Unreachable("refused")
ALL = [refused(429), refused(403), refused(401), refused(404), refused(500), refused(503), failures.Absent("m")]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doubts(clock: Clock) -> doubt.Doubt:
    return doubt.Doubt(60.0, clock)


@pytest.mark.parametrize("failure", ALL)
def test_a_refusal_of_a_request_that_never_worked_is_believed(doubts: doubt.Doubt, failure: errors.BeaconError) -> None:
    assert doubts.about(failure, "list") == 0


@pytest.mark.parametrize(
    ("failure", "expected"), [(403, True), (500, True), (503, True), (401, False), (404, False), (429, False)]
)
def test_a_missing_right_and_an_unready_server_are_doubted_if_the_request_worked_before(
    doubts: doubt.Doubt, failure: int, expected: bool
) -> None:
    doubts.worked("list")

    assert bool(doubts.about(refused(failure), "list")) is expected


@pytest.mark.parametrize("loss", [LOST, failures.Broken("m"), failures.Silent("m")])
@pytest.mark.parametrize("failure", ALL)
def test_soon_after_a_connection_was_lost_everything_that_worked_is_doubted_for_a_minute(
    doubts: doubt.Doubt, clock: Clock, failure: errors.BeaconError, loss: errors.BeaconError
) -> None:
    doubts.worked("watch")
    doubts.about(loss, "watch")

    seen = []
    for _ in range(70):
        seen.append(doubts.about(failure, "watch"))
        clock.now += 1

    assert seen == [*range(1, 61), *[0] * 10]


@pytest.mark.parametrize(("failure", "expected"), [(403, 1), (401, 1), (503, 1), (404, 0)])
def test_at_the_start_of_both_only_an_unknown_kind_is_believed(
    doubts: doubt.Doubt, failure: int, expected: int
) -> None:
    doubts.about(LOST, "discover")

    assert doubts.about(refused(failure), "discover") == expected


def test_a_request_that_works_again_is_doubted_again(doubts: doubt.Doubt, clock: Clock) -> None:
    doubts.worked("list")
    for _ in range(2):
        assert doubts.about(refused(403), "list") == 1
        clock.now += 3600
        assert doubts.about(refused(403), "list") == 0
        doubts.settle()


@pytest.mark.parametrize("status", [403, 500])
def test_a_long_list_that_is_always_refused_is_believed_although_short_ones_work(
    doubts: doubt.Doubt, clock: Clock, status: int
) -> None:
    answers = []
    for _ in range(65):
        doubts.worked("list")
        answers.append(doubts.about(refused(status), "list"))
        clock.now += 1

    assert (answers[0], answers[-1]) == (1, 0)


def test_a_revoked_right_to_watch_is_believed_although_lists_work(doubts: doubt.Doubt, clock: Clock) -> None:
    doubts.worked("watch")
    answers = []
    for _ in range(65):
        doubts.worked("list")
        answers.append(doubts.about(refused(403), "watch"))
        clock.now += 1

    assert answers[-1] == 0


def test_a_server_that_was_unreachable_for_long_is_doubted_again_when_it_answers(
    doubts: doubt.Doubt, clock: Clock
) -> None:
    doubts.worked("list")
    assert doubts.about(refused(403), "list")
    for _ in range(300):
        clock.now += 1
        doubts.about(LOST, "list")

    assert doubts.about(refused(403), "list")


def test_one_of_two_servers_that_refuses_is_believed_in_the_end(doubts: doubt.Doubt, clock: Clock) -> None:
    doubts.worked("list")
    answers = []
    for failure in itertools.islice(itertools.cycle([LOST, refused(403)]), 150):
        answers.append(doubts.about(failure, "list"))
        clock.now += 1

    assert answers[1] == 1
    assert answers[-1] == 0


def test_a_server_that_was_long_unready_and_then_refuses_is_still_starting(doubts: doubt.Doubt, clock: Clock) -> None:
    doubts.about(LOST, "list")
    for _ in range(200):
        doubts.about(refused(503), "list")
        clock.now += 1

    for failure in (403, 401):
        assert doubts.about(refused(failure), "list")


@pytest.mark.parametrize("failure", [refused(410), refused(400), failures.Malformed("m")])
def test_a_refusal_that_no_start_explains_is_believed(doubts: doubt.Doubt, failure: errors.BeaconError) -> None:
    doubts.worked("list")
    doubts.about(LOST, "list")

    assert doubts.about(failure, "list") == 0


def test_garbage_is_no_loss_of_the_connection() -> None:
    assert not doubt.is_loss(failures.Garbled("m"))
    assert doubt.is_loss(failures.Broken("m"))
