"""Which streams a configuration means: the one call by which the watcher and the store come to the same scopes."""

from beacon.configuration import settings
from beacon.domain import model, rules


def of(tree: settings.Settings) -> tuple[rules.Scope, ...]:
    """Give the disjoint streams of a configuration.

    Raises:
        rules.RuleError: two entries of `resources` contradict each other; the message says how.
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


def label(name: str, scope: model.ScopeId) -> str:
    """Name a scope after its plural or its kind: `name.group[@namespace]`."""
    where = f"@{scope.namespace}" if scope.namespace else ""
    return f"{name}.{scope.group}{where}" if scope.group else f"{name}{where}"
