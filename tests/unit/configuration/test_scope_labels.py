"""One spelling of a scope: `plural.group@namespace`, in lower case, also before the plural is known."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.configuration import configured_scopes
from beacon.domain import model
from tests.unit.store import world


@pytest.mark.parametrize(
    ("known", "group", "namespace", "label"),
    [
        ("configmaps@shop", "", "shop", "configmaps@shop"),
        ("", "", "", "widget"),
        ("", "", "shop", "widget@shop"),
        ("", "example.com", "shop", "widget.example.com@shop"),
    ],
)
def test_an_unknown_plural_is_replaced_by_the_kind(known: str, group: str, namespace: str, label: str) -> None:
    scope = model.ScopeId(group=group, kind="Widget", namespace=namespace)

    assert configured_scopes.spelled(known, scope) == label


def test_the_store_spells_a_scope_that_was_never_opened_as_the_watcher_does(tmp_path: Path) -> None:
    store = world.World(tmp_path / "e.db", world.scope_of("Widget", api_version="example.com/v1", namespaces=("shop",)))

    statistics = store.ask(wire.Inspect())
    explanation = store.ask(wire.Explain(kind="widget", namespace="shop", name="a"))

    assert [scope.label for scope in statistics.scopes] == ["widget.example.com@shop"]
    assert [scope.label for scope in explanation.covering] == ["widget.example.com@shop"]
