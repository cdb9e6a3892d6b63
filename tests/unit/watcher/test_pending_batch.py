"""A position covers everything between its two ends and nothing beyond what was seen."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from beacon.domain import model
from beacon.watcher import pending_batch


def observation(version: int) -> model.Observation:
    return model.Observation(
        uid=f"u{version}",
        namespace="",
        name="a",
        resource_version=version,
        change=model.ChangeKind.ADDED,
        verdict=model.RuleVerdict.ACCEPTED,
    )


def test_large_observations_are_sent_before_they_are_many() -> None:
    fold = pending_batch.PendingBatch(10)
    large = []

    fold.see(11, dataclasses.replace(observation(11), labels={"a": "x" * 200_000}))
    large.append(fold.large)
    fold.see(12, dataclasses.replace(observation(12), value="x" * 100_000))
    large.append(fold.large)
    fold.take()
    large.append(fold.large)

    assert large == [False, True, False]


def test_skipped_lines_and_bookmarks_move_the_position_on() -> None:
    fold = pending_batch.PendingBatch(10)

    assert fold.see(11, None)
    fold.pass_by(15)

    assert fold.moved
    assert fold.take() == pending_batch.Segment(prev=10, position=15, observations=())
    assert not fold.moved


def test_a_line_that_is_not_newer_is_refused_and_changes_nothing() -> None:
    fold = pending_batch.PendingBatch(10)

    assert not fold.see(10, observation(10))
    assert not fold.see(9, observation(9))
    assert (fold.position, fold.waiting) == (10, 0)


def test_a_bookmark_that_is_behind_says_nothing() -> None:
    fold = pending_batch.PendingBatch(10)

    fold.pass_by(9)

    assert fold.position == 10


steps = st.lists(st.tuples(st.sampled_from(["seen", "skipped", "bookmark", "take"]), st.integers(1, 5)), max_size=60)


@given(steps)
def test_segments_follow_on_each_other_without_holes_and_hold_everything_seen(done: list[tuple[str, int]]) -> None:
    fold = pending_batch.PendingBatch(100)
    version, sent, seen = 100, [], []
    for what, step in [*done, ("take", 1)]:
        if what == "take":
            sent.append(fold.take())
            continue
        version += step
        if what == "bookmark":
            fold.pass_by(version)
        else:
            fold.see(version, observation(version) if what == "seen" else None)
            seen += [version] if what == "seen" else []

    ends = [100] + [segment.position for segment in sent]
    assert [segment.prev for segment in sent] == ends[:-1]
    assert ends[-1] == version
    assert [one.resource_version for segment in sent for one in segment.observations] == seen
    for segment in sent:
        assert all(segment.prev < one.resource_version <= segment.position for one in segment.observations)
