"""The events that an endpoint gets: by kind, namespace, name and type, and the reason why it does not get one."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.domain import model, selection
from beacon.domain.selection import NotSelected, Selection, Subject, SubjectFilter

CREATED, DELETED = model.EventType.CREATED, model.EventType.DELETED
LETTERS = st.text("ab-", max_size=6)
PATTERNS = st.text("ab-*?", max_size=6)
SUBJECTS = st.builds(
    Subject,
    group=st.sampled_from(["", "apps"]),
    kind=st.sampled_from(["Pod", "Deployment"]),
    namespace=LETTERS,
    name=LETTERS,
)
KINDS = st.sampled_from(["Pod", "Deployment.apps", "Pod.apps"])
FILTERS = st.builds(
    SubjectFilter,
    kinds=st.lists(KINDS, max_size=2).map(tuple),
    namespaces=st.lists(PATTERNS, max_size=2).map(tuple),
    names=st.lists(PATTERNS, max_size=2).map(tuple),
)
SELECTIONS = st.builds(
    Selection, select=FILTERS, exclude=FILTERS, types=st.lists(st.sampled_from(model.EventType), max_size=3).map(tuple)
)


def subject(**changes: Any) -> Subject:
    given: dict[str, Any] = {"group": "apps", "kind": "Deployment", "namespace": "team-a", "name": "web"}
    return Subject(**given | changes)


def selecting(**keys: tuple[str, ...]) -> Selection:
    return Selection(select=SubjectFilter(**keys))


def naive(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in (text[0], "?") and naive(pattern[1:], text[1:])


@pytest.mark.parametrize(
    ("chosen", "one", "reason"),
    [
        (Selection(), subject(), None),
        (selecting(kinds=("Deployment.apps",)), subject(), None),
        (selecting(kinds=("Deployment",)), subject(), NotSelected.KIND),
        (selecting(kinds=("Pod",)), subject(group="", kind="Pod"), None),
        (selecting(kinds=("Pod", "Deployment.apps")), subject(), None),
        (selecting(kinds=("deployment.apps",)), subject(), NotSelected.KIND),
        (selecting(namespaces=("team-*",)), subject(), None),
        (selecting(namespaces=("Team-*",)), subject(), NotSelected.NAMESPACE),
        (selecting(namespaces=("team-[b-z]", "team-?")), subject(), None),
        (selecting(namespaces=("team-[!a]",)), subject(), NotSelected.NAMESPACE),
        (selecting(namespaces=("team",)), subject(), NotSelected.NAMESPACE),
        (selecting(namespaces=("team-*",)), subject(namespace=""), NotSelected.NAMESPACE),
        (selecting(namespaces=("*",)), subject(namespace=""), None),
        (selecting(names=("w.b",)), subject(), NotSelected.NAME),
        (selecting(names=("w*",), namespaces=("x",)), subject(), NotSelected.NAMESPACE),
        (Selection(exclude=SubjectFilter(names=("web",))), subject(), NotSelected.EXCLUDED),
        (Selection(exclude=SubjectFilter(names=("web",), kinds=("Pod",))), subject(), None),
        (Selection(exclude=SubjectFilter()), subject(), None),
    ],
)
def test_an_object_is_selected_or_there_is_a_reason(
    chosen: Selection, one: Subject, reason: NotSelected | None
) -> None:
    assert chosen.why_no_object(one) is reason


def test_a_type_that_is_not_listed_is_not_selected() -> None:
    chosen = Selection(types=(CREATED,))

    assert chosen.why_not(subject(), CREATED) is None
    assert chosen.why_not(subject(), DELETED) is NotSelected.TYPE
    assert chosen.why_no_object(subject()) is None


@given(PATTERNS, LETTERS)
def test_a_pattern_matches_as_in_a_shell(pattern: str, text: str) -> None:
    assert selection.matches(pattern, text) is naive(pattern, text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_a_pattern(pattern: str, text: str) -> None:
    selection.matches(pattern, text)


@given(SELECTIONS, SUBJECTS, st.sampled_from(model.EventType))
def test_an_exclusion_only_takes_away_and_wins(chosen: Selection, one: Subject, event: model.EventType) -> None:
    alone = Selection(select=chosen.select, types=chosen.types)
    excluded = not chosen.exclude.is_empty() and Selection(select=chosen.exclude).why_no_object(one) is None

    is_selected = chosen.why_not(one, event) is None

    assert is_selected == (alone.why_not(one, event) is None and not excluded)


@given(SELECTIONS, SUBJECTS, st.sampled_from(model.EventType))
def test_a_further_value_of_a_key_never_selects_less(chosen: Selection, one: Subject, event: model.EventType) -> None:
    given_names = chosen.select.names
    wider = SubjectFilter(
        kinds=chosen.select.kinds,
        namespaces=chosen.select.namespaces,
        names=(*given_names, "a*") if given_names else (),
    )

    if chosen.why_not(one, event) is None:
        assert Selection(select=wider, exclude=chosen.exclude, types=chosen.types).why_not(one, event) is None


@given(SELECTIONS)
def test_the_fingerprint_ignores_order_and_repetition(chosen: Selection) -> None:
    turned = SubjectFilter(
        kinds=(*reversed(chosen.select.kinds), *chosen.select.kinds),
        namespaces=chosen.select.namespaces[::-1],
        names=chosen.select.names[::-1],
    )

    same = Selection(select=turned, exclude=chosen.exclude, types=chosen.types[::-1])

    assert same.fingerprint() == chosen.fingerprint()


def test_the_fingerprint_differs_for_each_key() -> None:
    one = SubjectFilter(names=("a",))
    chosen = [
        Selection(),
        Selection(select=one),
        Selection(exclude=one),
        Selection(select=SubjectFilter(namespaces=("a",))),
        Selection(select=SubjectFilter(kinds=("a",))),
        Selection(types=(CREATED,)),
    ]

    assert len({one.fingerprint() for one in chosen}) == len(chosen)


@pytest.mark.parametrize("pattern", ["*a" * 120 + "b", "*?" * 120 + "b", "*a*" * 80 + "b", "[!b]*" * 60 + "b"])
def test_a_hostile_pattern_costs_no_more_than_the_product_of_the_lengths(pattern: str) -> None:
    started = time.process_time()

    assert not selection.matches(pattern, "a" * 253)

    assert time.process_time() - started < 30  # exponential: the age of the universe
