"""The decision on one observation, with other objects of the same name."""

import pytest

from beacon.domain import decision, model, transitions
from beacon.domain.model import ChangeKind, EventType, ObjectState, RuleVerdict

NOW = transitions.Circumstances(fingerprint="rule", epoch=0, updates=True)


def known(state: ObjectState = ObjectState.TRACKED, *, version: int = 10, value: str = "v") -> transitions.KnownObject:
    return transitions.KnownObject(
        state=state, epoch=0, resource_version=version, judged_by="rule", accepted_by="rule", value=value
    )


def row(uid: str, *, version: int) -> decision.ObjectRow:
    return decision.ObjectRow(uid=uid, namespace="ns", name="n", known=known(version=version, value=f"value of {uid}"))


def seen(
    change: ChangeKind = ChangeKind.ADDED,
    verdict: RuleVerdict = RuleVerdict.ACCEPTED,
    *,
    version: int = 20,
    value: str = "new",
) -> model.Observation:
    return model.Observation(
        uid="u", namespace="ns", name="n", resource_version=version, change=change, verdict=verdict, value=value
    )


def test_a_name_that_changes_hands_ends_the_older_object_first() -> None:
    older = decision.decide(seen(), None, [row("old", version=10)], NOW)

    assert [(write.shown.uid, write.event, write.shown.value) for write in older] == [
        ("old", EventType.DELETED, "value of old"),
        ("u", EventType.CREATED, "new"),
    ]
    assert older[0].after.resource_version == 20


@pytest.mark.parametrize("versions", [(30,), (20,), (10, 30), (30, 10)])
def test_an_object_older_than_any_holder_of_its_name_writes_nothing(versions: tuple[int, ...]) -> None:
    holders = [row(f"o{version}", version=version) for version in versions]

    assert decision.decide(seen(), None, holders, NOW) == ()


def test_a_stale_observation_writes_nothing() -> None:
    assert decision.decide(seen(version=9), known(), [], NOW) == ()


def test_an_object_that_is_not_accepted_keeps_the_value_of_its_last_acceptance() -> None:
    (write,) = decision.decide(seen(ChangeKind.MODIFIED, RuleVerdict.ANNOTATION, value=""), known(), [], NOW)

    assert (write.event, write.shown.value, write.after.value) == (EventType.DELETED, "v", "v")
    assert write.after.state is ObjectState.RELEASED


def test_an_object_that_was_never_accepted_writes_nothing() -> None:
    assert decision.decide(seen(ChangeKind.MODIFIED, RuleVerdict.ANNOTATION), None, [], NOW) == ()


def test_a_tracked_object_needs_no_other_row_of_its_name() -> None:
    assert not decision.takes_name(seen(), known())
    assert decision.takes_name(seen(), known(ObjectState.RELEASED))
    assert not decision.takes_name(seen(verdict=RuleVerdict.LABEL), None)
