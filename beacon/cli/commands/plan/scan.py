"""Reads a cluster for `beacon plan`: served kinds, granted rights, objects. It lists and changes nothing.

It requests metadata only, page by page, and forgets an object as soon as it is counted.
"""

from collections.abc import Sequence

from beacon import errors
from beacon.cli import cluster_choice, cluster_client, rights
from beacon.cli.commands.plan import model, rendering
from beacon.cluster import connection, discovery, failures, lists, observing, reviewing
from beacon.domain import model as domain_model
from beacon.domain import rules


class Survey:
    """One scan of a cluster."""

    def __init__(self, chosen: cluster_choice.ClusterChoice) -> None:
        """Connect with the credentials of the kubeconfig, or else those of the pod.

        Raises:
            errors.ConfigError: there are no credentials, or they are not usable.
        """
        self._api = cluster_client.connect(chosen)

    def cluster(self) -> rendering.ClusterOutlook:
        """Read the cluster's identity.

        Raises:
            errors.TransientError: the API server is not reachable, or does not answer access reviews.
        """
        identified = _may(self._api, rights.IDENTITY)
        return rendering.ClusterOutlook(uid=lists.cluster_uid(self._api) if identified else "", identified=identified)

    def scopes(
        self,
        scopes: Sequence[rules.Scope],
        ledger: model.Ledger | None,
        *,
        updates: bool,
        outcome: model.ObjectsAfterStart | None = None,
    ) -> tuple[rendering.ScopeOutlook, ...]:
        """Scan every scope; an API that does not answer is a problem of its own scope only.

        The objects are added to `outcome`.
        """
        forecasts = (model.Forecast(scope, ledger, updates=updates, outcome=outcome) for scope in scopes)
        return tuple(self._scan(scope, forecast) for scope, forecast in zip(scopes, forecasts, strict=True))

    def _scan(self, scope: rules.Scope, forecast: model.Forecast) -> rendering.ScopeOutlook:
        plural = scope.resource
        try:
            resource = discovery.find(self._api, scope.api_version, scope.id.kind, scope.resource)
            plural = resource.plural
            if scope.id.namespace and not resource.namespaced:
                raise failures.Unsuitable(f"{scope.id.kind} is cluster-wide: remove `namespaces`")
            watched = rights.Watched(group=scope.id.group, plural=plural, namespace=scope.id.namespace)
            missing = tuple(right for right in rights.of(watched) if not _may(self._api, right))
            listable = not any(right.verb == "list" for right in missing)
            counts = self._count(scope, resource, forecast) if listable else None
        except (errors.TransientError, errors.PermanentError) as error:
            forecast.give_up()
            return rendering.ScopeOutlook(scope=scope, plural=plural, problem=str(error))
        if counts is None:
            forecast.give_up()
        return rendering.ScopeOutlook(scope=scope, plural=plural, missing=missing, counts=counts)

    def _count(self, scope: rules.Scope, resource: discovery.ServedResource, forecast: model.Forecast) -> model.Counts:
        for page in lists.pages(self._api, resource, scope.id.namespace):
            for item in page.items:
                seen = observing.observe(scope.rule, item, domain_model.ChangeKind.LISTED, forecast.wanted)
                forecast.see(seen, annotated=scope.rule.annotation in (item.annotations or {}))
            for one in page.unreadable:
                forecast.pass_by(one.item.uid, one.name, one.why)
        return forecast.finish()


def _may(api: connection.Connection, right: rights.Right) -> bool:
    return reviewing.allowed(
        api,
        right.verb,
        group=right.group,
        resource=right.resource,
        namespace=right.namespace,
        name=right.name,
    )
