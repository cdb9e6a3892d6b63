"""Endpoints that select nothing and kinds that no endpoint selects are found in the configuration."""

from typing import Any

import pytest

from beacon.codec import documents
from beacon.configuration import loading, unselected

PODS: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod"}
NODES: dict[str, Any] = {"apiVersion": "v1", "kind": "Node"}
NOTHING = "select and exclude leave no object of any entry of resources"


def problems(*endpoints: dict[str, Any], resources: tuple[dict[str, Any], ...] = (PODS,)) -> list[str]:
    named = [{"name": f"e{number}", "url": "http://s/", **one} for number, one in enumerate(endpoints)]
    text = documents.dump({"resources": list(resources), "endpoints": named})
    return list(unselected.problems(loading.parse(text, {}).settings))


@pytest.mark.parametrize(
    "endpoint",
    [
        {},
        {"select": {"namespaces": ["team-*"]}},
        {"exclude": {"namespaces": ["team-*"]}},
        {"exclude": {"namespaces": ["*"], "names": ["tmp-*"]}},
        {"select": {"names": ["a", "b"]}, "exclude": {"names": ["a"]}},
    ],
)
def test_an_endpoint_that_may_select_something_is_fine(endpoint: dict[str, Any]) -> None:
    assert problems(endpoint) == []


@pytest.mark.parametrize(
    ("endpoint", "resource"),
    [
        ({"exclude": {"kinds": ["Pod"]}}, PODS),
        ({"exclude": {"namespaces": ["*"]}}, PODS),
        ({"select": {"names": ["a"]}, "exclude": {"names": ["a", "b"]}}, PODS),
        ({"select": {"namespaces": ["team-*"]}}, PODS | {"namespaces": ["shop"]}),
        ({"exclude": {"namespaces": ["sh*"]}}, PODS | {"namespaces": ["shop"]}),
        ({"select": {"namespaces": ["team-*"]}}, NODES),
    ],
)
def test_an_endpoint_that_selects_nothing_is_found(endpoint: dict[str, Any], resource: dict[str, Any]) -> None:
    name = {"Pod": "pods", "Node": "nodes"}[resource["kind"]] + ("@shop" if "namespaces" in resource else "")

    assert problems(endpoint, resources=(resource,)) == [
        f"endpoint: {NOTHING}",
        f"resources: no endpoint selects {name}: its events are recorded and not sent",
    ]
    assert problems({}, endpoint, resources=(resource,)) == [f"endpoints[1] (e1): {NOTHING}"]


def test_a_kind_that_no_endpoint_selects_is_found() -> None:
    found = problems({"select": {"kinds": ["Pod"]}}, {"exclude": {"kinds": ["Node"]}}, resources=(PODS, NODES))

    assert found == ["resources: no endpoint selects nodes: its events are recorded and not sent"]
