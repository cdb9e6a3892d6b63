"""A list that never ends is detected, whatever its cycle; a valid list is never rejected."""

import itertools
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.cluster import endless, failures, items


def page(rest: str, *uids: str) -> items.ListPageItems:
    return items.ListPageItems(version=5, items=[items.Item(uid=uid) for uid in uids], rest=rest)


def read(pages: Iterable[items.ListPageItems], guard: endless.ListGuard | None = None) -> int:
    """Return how many pages are taken; the last of an endless list is never reached."""
    guard = guard or endless.ListGuard()
    taken = []
    for one in itertools.islice(pages, 100_000):
        guard.check(one)
        taken.append(one)
    return len(taken)


def fresh() -> Iterator[str]:
    return (f"fresh-{number}" for number in itertools.count())


@pytest.mark.parametrize(
    "pages",
    [
        (page("same", uid) for uid in fresh()),
        (page(token, "a", "b") for token in fresh()),
        (page(token) for token in fresh()),
        (page(token, uid) for token, uid in zip(itertools.cycle("abc"), fresh(), strict=False)),
        (page(token, uid) for token, uid in zip(fresh(), itertools.cycle("abcde"), strict=False)),
        (page(token, *uids) for token, uids in zip(fresh(), itertools.cycle(["ab", "cd", "", "e"]), strict=False)),
        itertools.chain([page("a", "1"), page("b", "2")], itertools.cycle([page("c", "3"), page("d", "4")])),
        itertools.chain([page(token) for token in "abcdefgh"], itertools.repeat(page("z", "1"))),
    ],
    ids=["token", "objects", "empty", "tokens in turn", "objects in turn", "shifted", "late circle", "after empty"],
)
def test_a_list_that_never_ends_is_rejected(pages: Iterator[items.ListPageItems]) -> None:
    with pytest.raises(failures.Malformed):
        read(pages)


def test_a_list_of_ever_new_objects_ends_with_its_time() -> None:
    now = itertools.count()
    guard = endless.ListGuard(longest_s=1000, clock=lambda: float(next(now)))

    with pytest.raises(failures.Malformed, match="not ended in time"):
        read((page(token, token) for token in fresh()), guard)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_cycle_of_any_length_is_detected_soon(before: int, length: int) -> None:
    def pages() -> Iterator[items.ListPageItems]:
        for number in itertools.count():
            at = number if number < before else before + (number - before) % length
            taken.append(number)
            yield page(f"t{number}", f"o{at}")

    taken: list[int] = []
    with pytest.raises(failures.Malformed, match="repeats an earlier"):
        read(pages())
    assert len(taken) <= 4 * (before + length) + 2


@given(st.lists(st.integers(0, 3), max_size=60))
def test_an_honest_list_is_taken_whole(sizes: list[int]) -> None:
    numbers = itertools.count()
    rests = [f"t{number}" for number in range(1, len(sizes))] + [""]
    pages = [
        page(rest, *(f"o{next(numbers)}" for _ in range(size or 1))) for rest, size in zip(rests, sizes, strict=False)
    ]

    assert read(pages) == len(pages)


def test_some_empty_pages_are_no_endless_list() -> None:
    assert read([*(page(f"t{number}") for number in range(10)), page("", "a")]) == 11
