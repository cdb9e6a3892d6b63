"""One look at a live object, for `explain`: why the configuration does not accept it, in words. It only lists."""

from collections.abc import Sequence

from beacon import errors
from beacon.cli import cluster_client
from beacon.cluster import discovery, items, lists
from beacon.domain import model, rules


def why_not(scopes: Sequence[rules.Scope], kind: str, namespace: str, name: str) -> list[str]:
    """Say what the cluster shows of an object that nothing was told of; a sentence for each scope that covers it."""
    try:
        api = cluster_client.connect()
        said = []
        for scope in _covering(scopes, kind, namespace):
            resource = discovery.find(api, scope.api_version, scope.id.kind, scope.resource)
            item = lists.one(api, resource, namespace, name)
            said.append(_sentence(scope.rule, item, kind, name))
    except errors.BeaconError as error:
        return [f"The cluster could not be asked what the object is like now: {error}."]
    return said


def _covering(scopes: Sequence[rules.Scope], kind: str, namespace: str) -> list[rules.Scope]:
    return [
        scope for scope in scopes if scope.id.kind.lower() == kind.lower() and scope.id.namespace in ("", namespace)
    ]


def _sentence(rule: rules.ScopeRule, item: items.Item | items.Unreadable | None, kind: str, name: str) -> str:
    if item is None:
        return f"In the cluster there is no {kind} of this name now."
    if isinstance(item, items.Unreadable):
        return f"In the cluster {name} can't be read: {item.why}."
    annotations, labels = item.annotations or {}, item.labels or {}
    verdict = rules.judge(rule, namespace=item.namespace, annotations=annotations, labels=labels)
    if verdict is model.RuleVerdict.ACCEPTED:
        return f"In the cluster {name} is accepted now: it is told as soon as the watch or a comparison has seen it."
    if verdict is model.RuleVerdict.LABEL:
        return f"In the cluster {name} is annotated, and its labels do not match the selector."
    if verdict is model.RuleVerdict.NAMESPACE:
        return f"In the cluster {name} is annotated, and its namespace is excluded."
    value = annotations.get(rule.annotation)
    if value is None:
        return f"In the cluster {name} is not annotated with {rule.annotation}."
    accepted = ", ".join(sorted(rule.values or ()))
    return f"In the cluster {name} has the value {value!r}, and only these are accepted: {accepted}."
