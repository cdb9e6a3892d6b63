"""Lists: metadata only, in pages, all at one resourceVersion, read from etcd's quorum and not from a cache.

No `resourceVersion` is sent, which is what makes a list a quorum read. Source: Kubernetes documentation, "Kubernetes
API Concepts", semantics for `get` and `list`.
"""

from collections.abc import Iterator

from beacon.cluster import connection, discovery, endless, failures, items

_CLUSTER = "/api/v1/namespaces/kube-system"


def current(api: connection.Connection, resource: discovery.Resource, namespace: str) -> int:
    """Read the present resourceVersion of a resource.

    Raises:
        failures.Refused, failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    return _page(api, resource, namespace, [("limit", "1")]).version


def pages(
    api: connection.Connection, resource: discovery.Resource, namespace: str, *, limit: int = 500
) -> Iterator[items.Page]:
    """Read a collection page by page, each when it is asked for.

    Raises:
        failures.Refused: as any; 410 when the pages can no longer be read at the resourceVersion of the first.
        failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    guard = endless.Guard()
    page = _page(api, resource, namespace, [("limit", str(limit))])
    at = page.version
    guard.check(page)
    yield page
    while page.rest:
        page = _page(api, resource, namespace, [("limit", str(limit)), ("continue", page.rest)])
        if page.version != at:
            raise failures.Malformed(f"the API server changed from resourceVersion {at} to {page.version} in a list")
        guard.check(page)
        yield page


def one(api: connection.Connection, resource: discovery.Resource, namespace: str, name: str) -> items.Item | None:
    """Read a single object by a list, for which the right to list is enough; None when it is not there.

    Raises:
        failures.Refused, failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    found = _page(api, resource, namespace, [("fieldSelector", f"metadata.name={name}"), ("limit", "1")]).items
    return next(iter(found), None)


def cluster_uid(api: connection.Connection) -> str:
    """Read what tells this cluster from another: the UID of namespace kube-system; "" when it may not be read.

    Raises:
        failures.Unreachable: no answer.
        failures.Refused: the API server is not well; a refused right or an absent namespace is no error.
    """
    try:
        return items.object_uid(api.get(_CLUSTER, accept=connection.METADATA))
    except failures.Refused as error:
        if error.status in (403, 404, 406):
            return ""
        raise


def _page(
    api: connection.Connection, resource: discovery.Resource, namespace: str, query: list[tuple[str, str]]
) -> items.Page:
    return items.page(api.get(resource.path(namespace), query=query, accept=connection.METADATA_LIST))
