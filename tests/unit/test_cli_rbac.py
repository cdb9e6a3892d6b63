"""Where a plural is taken from."""

import pytest

from beacon import errors
from beacon.cli.commands import rbac
from beacon.dev.api_server import catalogue
from beacon.domain import builtin, rules


def name(entry: rules.Entry) -> rbac.ResolvedScopes:
    def discover(scope: rules.Scope) -> rbac.Served:
        raise errors.PermanentError(f"asked for {scope.id.kind}")

    return rbac.resolve(rules.scopes([entry], annotation="a/b", values=None), discover)


def test_the_known_kinds_are_those_that_a_plain_cluster_serves() -> None:
    served = {
        (kind.group, kind.kind): builtin.BuiltinKind(plural=kind.plural, namespaced=kind.namespaced)
        for kind in catalogue.built_in()
        if {"list", "watch"} <= set(kind.verbs)
    }

    assert {key: builtin.find(*key) for key in served} == served


@pytest.mark.parametrize(("kind", "plural"), [("Pod", "pods"), ("Endpoints", "endpoints")])
def test_a_kind_of_kubernetes_own_is_known_without_a_cluster(kind: str, plural: str) -> None:
    named = name(rules.Entry(api_version="v1", kind=kind))

    assert [one.plural for one in named.watched] == [plural]


def test_the_configured_plural_is_used_without_discovery() -> None:
    named = name(rules.Entry(api_version="example.com/v1", kind="Sheep", resource="sheep", namespaces=("a",)))

    assert [(one.group, one.plural, one.namespace) for one in named.watched] == [("example.com", "sheep", "a")]


def test_an_unknown_kind_is_a_problem_that_is_reported_once() -> None:
    named = name(rules.Entry(api_version="example.com/v1", kind="Sheep", namespaces=("a", "b")))

    assert named.watched == ()
    assert named.problems == ("Sheep of example.com/v1: asked for Sheep",)


@pytest.mark.parametrize("resource", ["", "nodes"])
def test_a_kind_that_does_not_live_in_namespaces_cant_be_watched_in_some(resource: str) -> None:
    named = name(rules.Entry(api_version="v1", kind="Node", resource=resource, namespaces=("a",)))

    assert named.problems == ("Node of v1: the kind is cluster-wide: remove `namespaces`",)
