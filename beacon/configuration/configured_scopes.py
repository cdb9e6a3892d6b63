"""The scopes of a configuration. The watcher and the store both call this, so that they agree on the scopes."""

from beacon.configuration import settings
from beacon.domain import builtin, model, rules


def of(tree: settings.Settings) -> tuple[rules.Scope, ...]:
    """Return the disjoint scopes of a configuration.

    Raises:
        rules.RuleError: two entries of `resources` contradict each other; the message states how.
    """
    entries = [
        rules.Entry(
            api_version=resource.api_version,
            kind=resource.kind,
            resource=resource.resource or "",
            namespaces=tuple(resource.namespaces or ()),
            excluded=tuple(resource.exclude_namespaces or ()),
            selector=resource.label_selector or "",
        )
        for resource in tree.resources
    ]
    return rules.scopes(
        entries,
        annotation=tree.annotation.key,
        values=tree.annotation.values or None,
        payload_annotations=tree.payload.annotations or (),
        payload_labels=tree.payload.labels or None,
    )


def spelled(plural: str, scope: model.ScopeId) -> str:
    """Return the display name of a scope: before discovery has answered, only a custom kind stands for its plural."""
    known = builtin.find(scope.group, scope.kind)
    return label(plural or (known.plural if known else scope.kind.lower()), scope)


def label(name: str, scope: model.ScopeId) -> str:
    """Return the display name of a scope, from its plural or its kind: `name.group[@namespace]`."""
    where = f"@{scope.namespace}" if scope.namespace else ""
    return f"{name}.{scope.group}{where}" if scope.group else f"{name}{where}"
