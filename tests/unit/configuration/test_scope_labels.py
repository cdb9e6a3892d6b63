"""One spelling of a scope: `plural.group@namespace`, in lower case, also before the plural is known."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.configuration import configured_scopes
from beacon.domain import model
from tests.unit.store import world


@pytest.mark.parametrize(
    ("plural", "group", "kind", "namespace", "label"),
    [
        ("", "", "ConfigMap", "shop", "configmaps@shop"),
        ("", "apps", "Deployment", "", "deployments.apps"),
        ("sheep", "farm.io", "Sheep", "a", "sheep.farm.io@a"),
        ("", "", "Widget", "", "widget"),
        ("", "example.com", "Widget", "shop", "widget.example.com@shop"),
    ],
)
def test_only_an_unknown_plural_is_replaced_by_the_kind(
    plural: str, group: str, kind: str, namespace: str, label: str
) -> None:
    scope = model.ScopeId(group=group, kind=kind, namespace=namespace)

    assert configured_scopes.spelled(plural, scope) == label


def test_the_store_spells_a_scope_that_was_never_opened_as_the_watcher_does(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db", world.scope_of("Widget", api_version="example.com/v1", namespaces=("shop",)))

    statistics = store.ask(wire.Inspect())
    explanation = store.ask(wire.Explain(kind="widget", namespace="shop", name="a"))

    assert [scope.label for scope in statistics.scopes] == ["widget.example.com@shop"]
    assert [scope.label for scope in explanation.covering] == ["widget.example.com@shop"]
