"""Disjoint streams, acceptance, and what a fingerprint distinguishes."""

import pytest

from beacon.domain import model, rules

KEY = "bakerapps.net.maas"


def scopes(*entries: rules.Entry, values: list[str] | None = None) -> tuple[rules.Scope, ...]:
    return rules.scopes(entries, annotation=KEY, values=values)


def entry(*namespaces: str, kind: str = "ConfigMap", **more: object) -> rules.Entry:
    return rules.Entry(api_version="v1", kind=kind, namespaces=namespaces, **more)  # type: ignore[arg-type]


def test_entries_of_one_kind_become_disjoint_streams() -> None:
    made = scopes(entry("a", "b"), entry("b", "c"), entry(kind="Secret"))

    assert [(scope.id.kind, scope.id.namespace) for scope in made] == [
        ("ConfigMap", "a"),
        ("ConfigMap", "b"),
        ("ConfigMap", "c"),
        ("Secret", ""),
    ]


def test_an_entry_for_all_namespaces_takes_in_those_named() -> None:
    (one,) = scopes(entry(excluded=("x",)), entry("x", selector="a=b"))

    judge = {"annotations": {KEY: ""}, "labels": {"a": "c"}}
    assert rules.judge(one.rule, namespace="x", **judge) is model.RuleVerdict.LABEL
    assert rules.judge(one.rule, namespace="y", **judge) is model.RuleVerdict.ACCEPTED


@pytest.mark.parametrize(
    "entries",
    [
        (entry("a"), entry("a", selector="x=y")),
        (entry(), entry("a", selector="x=y")),
        (entry(), entry(selector="x=y")),
        (entry("a", excluded=("a",)),),
        (
            entry("a"),
            rules.Entry(api_version="v1", kind="ConfigMap", namespaces=("b",), resource="maps"),
            entry("c", resource="cms"),
        ),
    ],
)
def test_entries_that_contradict_each_other_are_refused(entries: tuple[rules.Entry, ...]) -> None:
    with pytest.raises(rules.RuleError, match="ConfigMap"):
        scopes(*entries)


@pytest.mark.parametrize(
    ("annotations", "namespace", "verdict"),
    [
        ({KEY: "blue"}, "a", model.RuleVerdict.ACCEPTED),
        ({KEY: "green"}, "a", model.RuleVerdict.ANNOTATION),
        ({}, "a", model.RuleVerdict.ANNOTATION),
        ({KEY: "blue"}, "out", model.RuleVerdict.NAMESPACE),
    ],
)
def test_an_object_is_accepted_or_lacks_something(
    annotations: dict[str, str], namespace: str, verdict: model.RuleVerdict
) -> None:
    (one,) = scopes(entry(excluded=("out",)), values=["blue"])

    assert rules.judge(one.rule, namespace=namespace, annotations=annotations, labels={}) is verdict


def test_an_exclusion_changes_the_fingerprint_of_the_scope_but_of_no_other_namespace() -> None:
    (before,) = scopes(entry())
    (after,) = scopes(entry(excluded=("x",)))

    assert before.fingerprint != after.fingerprint
    assert rules.fingerprint(before.rule, "y") == rules.fingerprint(after.rule, "y")
    assert rules.fingerprint(before.rule, "x") != rules.fingerprint(after.rule, "x")


def test_the_form_of_a_rule_does_not_change_its_fingerprint() -> None:
    (one,) = scopes(entry(selector="b=1,a in (y,x)"), values=["p", "q"])
    (same,) = scopes(entry(selector="a in (x, y), b=1"), values=["q", "p"])

    assert one.fingerprint == same.fingerprint


def test_values_and_selector_change_the_fingerprint_and_the_annotation_its_first_part() -> None:
    (plain,) = scopes(entry())
    (valued,) = scopes(entry(), values=["a"])
    (other,) = rules.scopes([entry()], annotation="other", values=None)

    assert plain.fingerprint != valued.fingerprint
    assert rules.same_annotation(plain.fingerprint, valued.fingerprint)
    assert not rules.same_annotation(plain.fingerprint, other.fingerprint)


def test_the_payload_has_only_the_configured_annotations_and_never_last_applied() -> None:
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    (one,) = rules.scopes(
        [entry()], annotation=KEY, values=None, payload_annotations=["a", applied], payload_labels=["l"]
    )

    assert rules.kept_annotations(one.rule, {"a": "1", "b": "2", applied: "{}"}) == {"a": "1"}
    assert rules.kept_labels(one.rule, {"l": "1", "m": "2"}) == {"l": "1"}
