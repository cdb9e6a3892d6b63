"""Reads one live object for `explain` and explains why the configuration does not accept it. It only lists."""

from collections.abc import Sequence

from beacon import errors
from beacon.cli import cluster_choice, cluster_client
from beacon.cluster import discovery, items, lists
from beacon.domain import model, rules


def why_not(
    scopes: Sequence[rules.Scope], kind: str, namespace: str, name: str, *, chosen: cluster_choice.ClusterChoice
) -> list[str]:
    """Return a sentence about the live object for each scope that covers it."""
    try:
        api = cluster_client.connect(chosen)
        reasons = []
        for scope in _covering(scopes, kind, namespace):
            resource = discovery.find(api, scope.api_version, scope.id.kind, scope.resource)
            item = lists.one(api, resource, namespace, name)
            reasons.append(_sentence(scope.rule, item, kind, name))
    except errors.BeaconError as error:
        return [f"The object's current state could not be read from the cluster: {error}."]
    return reasons


def _covering(scopes: Sequence[rules.Scope], kind: str, namespace: str) -> list[rules.Scope]:
    return [
        scope for scope in scopes if scope.id.kind.lower() == kind.lower() and scope.id.namespace in ("", namespace)
    ]


def _sentence(rule: rules.ScopeRule, item: items.Item | items.Unreadable | None, kind: str, name: str) -> str:
    if item is None:
        return f"The cluster has no {kind} of this name now."
    if isinstance(item, items.Unreadable):
        return f"In the cluster, {name} cannot be read: {item.why}."
    annotations, labels = item.annotations or {}, item.labels or {}
    verdict = rules.judge(rule, namespace=item.namespace, annotations=annotations, labels=labels)
    if verdict is model.RuleVerdict.ACCEPTED:
        return (
            f"In the cluster, {name} is accepted now: an event is emitted when the watch or a comparison observes it."
        )
    if verdict is model.RuleVerdict.LABEL:
        return f"In the cluster, {name} is annotated, but its labels do not match the selector."
    if verdict is model.RuleVerdict.NAMESPACE:
        return f"In the cluster, {name} is annotated, but its namespace is excluded."
    value = annotations.get(rule.annotation)
    if value is None:
        return f"In the cluster, {name} is not annotated with {rule.annotation}."
    accepted = ", ".join(sorted(rule.values or ()))
    return f"In the cluster, {name} has the value {value!r}; the accepted values are: {accepted}."
