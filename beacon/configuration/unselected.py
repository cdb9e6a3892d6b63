"""Finds endpoints that select no configured scope, and scopes that no endpoint selects: valid, but hardly meant. Pure.

It compares what the configuration states, not objects: a pattern that happens to match no namespace is not found.
"""

from collections.abc import Collection, Iterator

from beacon.configuration import configured_scopes, endpoint_selection, settings
from beacon.domain import builtin, rules, selection


def problems(tree: settings.Settings) -> Iterator[str]:
    """Yield a sentence for each endpoint and each scope that nothing is sent to or from."""
    scopes = configured_scopes.of(tree)
    chosen = [endpoint_selection.of(one) for one in tree.endpoints]
    for place, one in enumerate(tree.endpoints):
        if not any(_may_select(chosen[place], scope) for scope in scopes):
            where = f"endpoints[{place}] ({one.name})" if len(tree.endpoints) > 1 else "endpoint"
            yield f"{where}: select and exclude leave no object of any entry of resources"
    for scope in scopes:
        if not any(_may_select(each, scope) for each in chosen):
            name = configured_scopes.spelled(scope.resource, scope.id)
            yield f"resources: no endpoint selects {name}: its events are recorded and not sent"


def _may_select(chosen: selection.Selection, scope: rules.Scope) -> bool:
    select, exclude = chosen.select, chosen.exclude
    kind = selection.kind_of(scope.id.group, scope.id.kind)
    if select.kinds and kind not in select.kinds:
        return False
    namespace = _namespace(scope)
    if namespace is not None and not _all_match(select.namespaces, namespace):
        return False
    return (
        exclude.is_empty()
        or (bool(exclude.kinds) and kind not in exclude.kinds)
        or not _covers(exclude.namespaces, select.namespaces, namespace)
        or not _covers(exclude.names, select.names, None)
    )


def _namespace(scope: rules.Scope) -> str | None:
    """Return the namespace of all objects of a scope, "" for cluster-wide ones; None: it may be any."""
    if scope.id.namespace:
        return scope.id.namespace
    known = builtin.find(scope.id.group, scope.id.kind)
    return "" if known and not known.namespaced else None


def _all_match(patterns: Collection[str], text: str) -> bool:
    return not patterns or any(selection.matches(pattern, text) for pattern in patterns)


def _covers(excluded: Collection[str], selected: Collection[str], only: str | None) -> bool:
    """Return True if patterns exclude whatever is selected; `only` is the single possible text, if it is known."""
    if only is not None:
        return _all_match(excluded, only)
    return not excluded or "*" in excluded or (bool(selected) and set(selected) <= set(excluded))
