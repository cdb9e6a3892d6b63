"""How the object that `beacon explain` is asked for may be written."""

import click
import pytest

from beacon import wire
from beacon.cli.commands.explain import rendering, target

SCOPES = [
    wire.ScopeStatistics(
        label="widgets.example.com@a", listed=True, position=1, position_us=1, name="Widget.example.com@a"
    )
]


def explain(what: str, name: str | None = None, namespace: str | None = None) -> wire.Explain:
    return target.request(target.parse(what, name, namespace), SCOPES)


@pytest.mark.parametrize(
    "words",
    [
        ("ConfigMap", "shop/web", None),
        ("configmaps", "shop/web", "shop"),
        ("CONFIGMAP", "web", "shop"),
        ("cm/web", None, "shop"),
        ("configmap/shop/web", None, None),
    ],
)
def test_a_built_in_type_is_taken_as_kubectl_takes_it(words: tuple[str, str | None, str | None]) -> None:
    assert explain(*words) == wire.Explain(kind="ConfigMap", namespace="shop", name="web")


@pytest.mark.parametrize("word", ["Widget", "widgets", "widget", "WIDGETS", "widgets.example.com"])
def test_a_custom_resource_is_resolved_by_its_scope_in_the_store(word: str) -> None:
    assert explain(f"{word}/x", None, "a") == wire.Explain(kind="Widget", namespace="a", name="x")


def test_a_namespace_does_not_matter_where_the_kind_has_none() -> None:
    assert explain("ns", "shop", "default") == wire.Explain(kind="Namespace", name="shop")
    assert explain("deployment.apps/web", None, "a").kind == "Deployment"


def test_an_id_is_taken_as_it_is() -> None:
    assert explain("7b0e2f3c-5a6d") == wire.Explain(target="7b0e2f3c-5a6d")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ConfigMap",), "the name of the ConfigMap is missing"),
        (("cm/web",), "ConfigMap is namespaced"),
        (("cm", "a/b/c"), "is neither NAMESPACE/NAME"),
        (("cm", "a/b", "c"), "'a' or 'c'"),
        (("cm/",), "is neither"),
    ],
)
def test_missing_or_contradictory_arguments_are_a_usage_error(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        explain(*words)


def story(kind: str) -> wire.Explanation:
    return wire.Explanation(
        known=False,
        kind=kind,
        namespace="b",
        name="x",
        objects=(),
        events=(),
        covering=(),
        kinds=("ConfigMap",),
        before=0,
        more=False,
    )


def test_a_namespace_that_is_not_watched_is_named_as_the_cause() -> None:
    assert rendering.why(story("ConfigMap"), [], {}, watched=["c", "a"]) == [
        "The configuration watches ConfigMap only in a, c, not in namespace b."
    ]
    assert rendering.why(story("Secret"), [], {}) == [
        "No scope covers Secret in namespace b: the configuration watches ConfigMap."
    ]


def test_a_type_is_known_if_it_is_configured_or_built_in() -> None:
    assert target.is_known("configmap", story("x"))
    assert target.is_known("Secret", story("x"))
    assert not target.is_known("Deplyment", story("x"))
