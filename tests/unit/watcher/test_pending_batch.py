"""A segment covers everything between its two positions, and nothing beyond what was received."""

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
    batch = pending_batch.PendingBatch(10)
    large = []

    batch.see(11, dataclasses.replace(observation(11), labels={"a": "x" * 200_000}))
    large.append(batch.large)
    batch.see(12, dataclasses.replace(observation(12), value="x" * 100_000))
    large.append(batch.large)
    batch.take()
    large.append(batch.large)

    assert large == [False, True, False]


def test_skipped_lines_and_bookmarks_move_the_position_on() -> None:
    batch = pending_batch.PendingBatch(10)

    assert batch.see(11, None)
    batch.advance_to(15)

    assert batch.moved
    assert batch.take() == pending_batch.Segment(prev=10, position=15, observations=())
    assert not batch.moved


def test_a_line_that_is_not_newer_is_refused_and_changes_nothing() -> None:
    batch = pending_batch.PendingBatch(10)

    assert not batch.see(10, observation(10))
    assert not batch.see(9, observation(9))
    assert (batch.position, batch.count) == (10, 0)


def test_a_bookmark_that_is_behind_is_ignored() -> None:
    batch = pending_batch.PendingBatch(10)

    batch.advance_to(9)

    assert batch.position == 10


steps = st.lists(st.tuples(st.sampled_from(["seen", "skipped", "bookmark", "take"]), st.integers(1, 5)), max_size=60)


@given(steps)
def test_segments_follow_on_each_other_without_holes_and_hold_everything_seen(done: list[tuple[str, int]]) -> None:
    batch = pending_batch.PendingBatch(100)
    version, sent, seen = 100, [], []
    for what, step in [*done, ("take", 1)]:
        if what == "take":
            sent.append(batch.take())
            continue
        version += step
        if what == "bookmark":
            batch.advance_to(version)
        else:
            batch.see(version, observation(version) if what == "seen" else None)
            seen += [version] if what == "seen" else []

    ends = [100] + [segment.position for segment in sent]
    assert [segment.prev for segment in sent] == ends[:-1]
    assert ends[-1] == version
    assert [one.resource_version for segment in sent for one in segment.observations] == seen
    for segment in sent:
        assert all(segment.prev < one.resource_version <= segment.position for one in segment.observations)
