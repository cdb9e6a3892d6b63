"""Label selectors as Kubernetes reads them, in common forms and in forms that people get wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.domain import selectors


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app==web", {"app": "api"}, False),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("tier in (a, b)", {"tier": "b"}, True),
        ("tier in (a,b)", {}, False),
        ("tier notin (a)", {}, True),
        ("tier notin (a)", {"tier": "a"}, False),
        ("canary", {"canary": ""}, True),
        ("!canary", {"canary": ""}, False),
        ("app.kubernetes.io/name=x, !y ,z in (1)", {"app.kubernetes.io/name": "x", "z": "1"}, True),
        ("cpu>4", {"cpu": "5"}, True),
        ("cpu<4", {"cpu": "many"}, False),
        ("a=", {"a": ""}, True),
        ("in in (in)", {"in": "in"}, True),
    ],
)
def test_a_selector_matches_as_in_kubernetes(text: str, labels: dict[str, str], *, matches: bool) -> None:
    assert selectors.parse(text).matches(labels) is matches


@pytest.mark.parametrize(
    "text", ["a=b,", ",a", "a=b=c", "a===b", "a b", "-a", "a in b", "a in (b", "a>x", "a=b c=d", "/a"]
)
def test_an_invalid_selector_is_refused(text: str) -> None:
    with pytest.raises(selectors.SelectorError, match=r"\S"):
        selectors.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "x=-a",
        "x>-1",
        "x>99999999999999999999",
        "x>9223372036854775808",
        "x>٣",
        "x<",
        "x=é",
        "x in (-a)",
        "x in (a b)",
        "x in (a))",
        "x in a,b",
        "x notin",
        "x notin a",
        "x!",
        "x!a",
        "!x=a",
        "!",
        "!!x",
        "x=a,,y",
        ",",
        "(x)",
        "a/b/c",
        "x=a/b",
        "a/",
        "Example.com/x",
        "a..b/x",
        ".a/x",
        "a_b/x",
        "a" * 254 + "/x",
        "x" * 64,
        "x=" + "y" * 64,
        "x=a\0",
    ],
)
def test_selectors_that_kubernetes_rejects_are_rejected(text: str) -> None:
    with pytest.raises(selectors.SelectorError, match=r"\S"):
        selectors.parse(text)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("x in ()", {"x": ""}, True),
        ("x in (a,)", {"x": ""}, True),
        ("x=,y=b", {"x": "", "y": "b"}, True),
        ("x in ( , ,a ,  , )", {"x": ""}, True),
        ("x in ( , ,a ,  , )", {"x": "b"}, False),
        ("x notin(a),y", {"y": ""}, True),
        ("! x", {}, True),
        ("\tx = a , y != b\n", {"x": "a"}, True),
        ("in,notin", {"in": "", "notin": ""}, True),
        ("x=in", {"x": "in"}, True),
        ("x>5", {"x": "6"}, True),
        ("x>5", {"x": "5"}, False),
        ("x>5", {"x": "10"}, True),
        ("x<5", {}, False),
        ("x>5", {"x": "٦"}, False),
        ("x>5", {"x": "9" * 40}, False),
        ("x>5", {"x": ""}, False),
        ("x>9223372036854775806", {"x": "9223372036854775807"}, True),
        ("x>1,x<3", {"x": "2"}, True),
        ("x=a,x=b", {"x": "a"}, False),
        ("A.b_c", {"A.b_c": ""}, True),
        ("a.b-c.d/A.b_c=1", {"a.b-c.d/A.b_c": "1"}, True),
    ],
)
def test_selectors_that_kubernetes_accepts_have_the_same_meaning(
    text: str, labels: dict[str, str], *, matches: bool
) -> None:
    assert selectors.parse(text).matches(labels) is matches


@given(st.text(alphabet="ab!=<>,() /.-_\tinot19é\0", max_size=30))
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    try:
        selector = selectors.parse(text)
    except ValueError:
        return
    assert selector.matches({"a": "b"}) in (True, False)


KEYS = st.sampled_from(["a", "b", "x.y/z"])
VALUES = st.sampled_from(["", "a", "1", "22"])
LABELS = st.dictionaries(KEYS, VALUES)


@given(KEYS, st.lists(VALUES, min_size=1), LABELS)
def test_a_term_and_its_opposite_never_agree(key: str, values: list[str], labels: dict[str, str]) -> None:
    members = ",".join(values)
    for one, other in (
        (f"{key} in ({members})", f"{key} notin ({members})"),
        (f"{key}={values[0]}", f"{key}!={values[0]}"),
        (key, f"!{key}"),
    ):
        assert selectors.parse(one).matches(labels) is not selectors.parse(other).matches(labels)


@given(st.lists(st.sampled_from(["a=1", "b in (a,1)", "!x.y/z", "a"]), unique=True), LABELS)
def test_all_terms_must_hold(terms: list[str], labels: dict[str, str]) -> None:
    whole = selectors.parse(", ".join(terms))

    assert whole.matches(labels) is all(selectors.parse(term).matches(labels) for term in terms)
