"""The table of transitions, row by row: the ledger's state, the observation, the event."""

import pytest

from beacon.domain import model, transitions
from beacon.domain.model import Cause, ChangeKind, EventType, GapReason, ObjectState, RuleVerdict

OURS, OTHERS = "key-one", "key-two"  # fingerprints of two rules of one annotation
ELSEWHERE = "other-one"  # of a rule of another annotation
NOTHING = (None, None)


def known(state: ObjectState, *, judged: str = OURS, accepted: str = OURS, value: str = "v") -> transitions.KnownObject:
    return transitions.KnownObject(
        state=state, epoch=0, resource_version=10, judged_by=judged, accepted_by=accepted, value=value
    )


def seen(
    verdict: RuleVerdict = RuleVerdict.ACCEPTED,
    change: ChangeKind = ChangeKind.MODIFIED,
    *,
    version: int = 11,
    value: str = "v",
) -> model.Observation:
    return model.Observation(
        uid="u", namespace="ns", name="n", resource_version=version, change=change, verdict=verdict, value=value
    )


def now(*, updates: bool = False, reason: GapReason | None = None, epoch: int = 0) -> transitions.Circumstances:
    return transitions.Circumstances(fingerprint=OURS, epoch=epoch, updates=updates, reason=reason)


TRACKED, RELEASED, GONE, UNMANAGED = ObjectState.TRACKED, ObjectState.RELEASED, ObjectState.GONE, ObjectState.UNMANAGED
CREATED, DELETED = EventType.CREATED, EventType.DELETED
LOST = RuleVerdict.ANNOTATION

TABLE = [
    # unknown, released or gone, and accepted
    (None, seen(change=ChangeKind.ADDED), TRACKED, (CREATED, Cause.OBJECT_CREATED)),
    (None, seen(), TRACKED, (CREATED, Cause.ANNOTATION_ADDED)),
    (None, seen(change=ChangeKind.LISTED), TRACKED, (CREATED, Cause.FIRST_SEEN)),
    (known(RELEASED), seen(), TRACKED, (CREATED, Cause.ANNOTATION_ADDED)),
    (known(GONE), seen(change=ChangeKind.LISTED), TRACKED, (CREATED, Cause.FIRST_SEEN)),
    (known(RELEASED, judged=OTHERS), seen(), TRACKED, (CREATED, Cause.CONFIGURATION)),
    # tracked
    (known(TRACKED), seen(), TRACKED, NOTHING),
    (known(TRACKED), seen(LOST), RELEASED, (DELETED, Cause.ANNOTATION_REMOVED)),
    (known(TRACKED), seen(RuleVerdict.LABEL), RELEASED, (DELETED, Cause.LABEL_REMOVED)),
    (known(TRACKED), seen(change=ChangeKind.DELETED), GONE, (DELETED, Cause.OBJECT_DELETED)),
    (known(TRACKED, judged=OTHERS, accepted=OTHERS), seen(), TRACKED, NOTHING),
    (known(TRACKED, judged=OTHERS, accepted=OTHERS), seen(LOST), UNMANAGED, NOTHING),
    (known(TRACKED, judged=OTHERS), seen(RuleVerdict.NAMESPACE), UNMANAGED, NOTHING),
    # unmanaged
    (known(UNMANAGED), seen(), TRACKED, NOTHING),
    (known(UNMANAGED, accepted=OTHERS), seen(), TRACKED, NOTHING),
    (known(UNMANAGED, accepted=OTHERS), seen(LOST), UNMANAGED, NOTHING),
    (known(UNMANAGED, judged=OTHERS), seen(LOST), RELEASED, (DELETED, Cause.ANNOTATION_REMOVED)),
    (known(UNMANAGED, accepted=OTHERS), seen(change=ChangeKind.DELETED), GONE, (DELETED, Cause.OBJECT_DELETED)),
    # released and gone
    (known(RELEASED), seen(LOST), RELEASED, NOTHING),
    (known(RELEASED), seen(change=ChangeKind.DELETED), GONE, NOTHING),
    (known(GONE), seen(LOST, ChangeKind.LISTED), RELEASED, NOTHING),
]


@pytest.mark.parametrize(("before", "observation", "state", "emitted"), TABLE)
def test_each_row_of_the_table(
    before: transitions.KnownObject | None,
    observation: model.Observation,
    state: ObjectState,
    emitted: tuple[EventType | None, Cause | None],
) -> None:
    step = transitions.step(before, observation, now())

    assert step == transitions.Transition(state=state, event=emitted[0], cause=emitted[1])


@pytest.mark.parametrize("observation", [seen(LOST), seen(change=ChangeKind.DELETED)])
def test_an_object_that_was_never_accepted_causes_no_transition(observation: model.Observation) -> None:
    assert transitions.step(None, observation, now()) is None


def test_an_object_found_by_a_list_after_a_configuration_change_is_created_by_it() -> None:
    step = transitions.step(None, seen(change=ChangeKind.LISTED), now(reason=GapReason.CONFIGURATION))

    assert step is not None
    assert step.cause is Cause.CONFIGURATION


def test_another_value_is_emitted_only_if_updates_are_enabled() -> None:
    emitted = transitions.step(known(TRACKED), seen(value="other"), now(updates=True))
    kept = transitions.step(known(TRACKED), seen(value="other"), now())

    assert emitted == transitions.Transition(state=TRACKED, event=EventType.UPDATED, cause=Cause.ANNOTATION_CHANGED)
    assert kept == transitions.Transition(state=TRACKED)


@pytest.mark.parametrize(
    ("before", "observation"),
    [
        (known(TRACKED, judged=OTHERS, accepted=OTHERS), seen(value="other", version=10)),
        (known(TRACKED, judged=ELSEWHERE, accepted=ELSEWHERE), seen(value="other")),
        (known(UNMANAGED), seen(value="other")),
    ],
)
def test_a_difference_of_the_rule_alone_is_no_update(
    before: transitions.KnownObject, observation: model.Observation
) -> None:
    assert transitions.step(before, observation, now(updates=True)) == transitions.Transition(state=TRACKED)


@pytest.mark.parametrize(
    ("before", "observation", "epoch", "stale"),
    [
        (known(TRACKED), seen(version=11), 0, False),
        (known(TRACKED), seen(version=10), 0, True),
        (known(TRACKED), seen(version=9), 0, True),
        (known(TRACKED, judged=OTHERS), seen(version=10), 0, False),
        (known(TRACKED, judged=OTHERS), seen(version=9), 0, True),
        (known(UNMANAGED), seen(version=10), 0, False),
        (known(UNMANAGED), seen(LOST, version=10), 0, True),
        (known(TRACKED), seen(version=3), 1, False),
    ],
)
def test_a_stale_observation_is_dropped(
    before: transitions.KnownObject, observation: model.Observation, epoch: int, *, stale: bool
) -> None:
    assert transitions.is_stale(before, observation, now(epoch=epoch)) is stale


@pytest.mark.parametrize(
    ("state", "held", "listed", "at", "impossible"),
    [
        (TRACKED, 10, 10, 20, False),
        (TRACKED, 10, 9, 20, True),
        (TRACKED, 25, 9, 20, False),
        (GONE, 10, 12, 20, True),
        (GONE, 25, 12, 20, False),
    ],
)
def test_a_list_that_contradicts_the_ledger_is_known(
    state: ObjectState, held: int, listed: int, at: int, *, impossible: bool
) -> None:
    assert transitions.is_impossible(state, held, listed=listed, list_version=at) is impossible
