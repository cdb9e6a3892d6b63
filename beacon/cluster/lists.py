"""Lists: metadata only, in pages, all at one resourceVersion, as a quorum read of etcd, not from a cache.

No `resourceVersion` is sent, which makes a list a quorum read. Source: Kubernetes documentation, "Kubernetes API
Concepts", semantics for `get` and `list`.

Pages are bounded in bytes: a page that is larger is requested again with a smaller `limit`, which grows again while
pages are small. A page with a single object has a higher bound.
"""

from collections.abc import Callable, Collection, Iterator

from beacon.cluster import connection, discovery, endless, failures, items

_CLUSTER = "/api/v1/namespaces/kube-system"


_MOST_OF_ONE = 16 * 1024 * 1024  # bytes of a page with one object, or of the list of a server that ignores `limit`
_HANDFUL = 5


def current(api: connection.Connection, resource: discovery.ServedResource, namespace: str) -> int:
    """Return the current resourceVersion of a resource.

    Raises:
        failures.ApiRefused, failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    return _Pages(api, resource, namespace, limit=1).read().version


def pages(
    api: connection.Connection, resource: discovery.ServedResource, namespace: str, *, limit: int = 500
) -> Iterator[items.ListPageItems]:
    """Yield a collection page by page, each read on demand; `limit` is the largest number of objects in a page.

    Raises:
        failures.ApiRefused: with 410 if the pages can no longer be read at the resourceVersion of the first.
        failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    reader = _Pages(api, resource, namespace, limit=limit)
    guard = endless.ListGuard()
    page = reader.read()
    list_version, first = page.version, frozenset(page.uids)
    guard.check(page)
    yield page
    while page.rest:
        before, page = frozenset(page.uids), reader.read(page.rest)
        if page.version != list_version:
            raise failures.Malformed(
                f"the API server changed from resourceVersion {list_version} to {page.version} in a list"
            )
        if not first.isdisjoint(page.uids) or not before.isdisjoint(page.uids):
            raise failures.Malformed("the API server listed an object twice")
        guard.check(page)
        yield page


class Witness:
    """Verifies a list that contains none of many objects that are known to exist, by reading the list again.

    A UID is never reused, so an object in the second list proves that the first one was wrong.
    """

    def __init__(self, known: Collection[str]) -> None:
        """Expect at least one of these UIDs in the list, if they are more than five."""
        self._known = frozenset(known)
        self._seen = len(self._known) <= _HANDFUL

    def see(self, page: items.ListPageItems) -> None:
        """Record a page of the list."""
        self._seen = self._seen or not self._known.isdisjoint(page.uids)

    def confirm(self, read: Callable[[], Iterator[items.ListPageItems]]) -> None:
        """Read the list again if it contained none of the known objects.

        Raises:
            failures.Malformed: the second list contains one of them, so the first can't be used.
        """
        if self._seen:
            return
        for page in read():
            self.see(page)
            if self._seen:
                raise failures.Malformed(
                    f"the API server's list contained none of the {len(self._known)} tracked objects, but a second"
                    " list did"
                )


def one(
    api: connection.Connection, resource: discovery.ServedResource, namespace: str, name: str
) -> items.Item | items.Unreadable | None:
    """Read a single object by a list, which needs only the right to list; return None if it does not exist.

    Raises:
        failures.ApiRefused, failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    page = _Pages(api, resource, namespace, limit=1, also=(("fieldSelector", f"metadata.name={name}"),)).read()
    return next(iter(page.items), None) or next(iter(page.unreadable), None)


def cluster_uid(api: connection.Connection) -> str:
    """Return the identity of the cluster: the UID of namespace kube-system, "" if it may not be read or is absent.

    Raises:
        failures.Unreachable: no response.
        failures.ApiRefused: the API server responded with another error than 403, 404 or 406.
    """
    try:
        return items.object_uid(api.get(_CLUSTER, accept=connection.METADATA), kind="Namespace")
    except failures.ApiRefused as error:
        if error.status in (403, 404, 406):
            return ""
        raise


class _Pages:
    """Reads pages of a collection, each with as many objects as fit."""

    def __init__(
        self,
        api: connection.Connection,
        resource: discovery.ServedResource,
        namespace: str,
        *,
        limit: int,
        also: connection.Query = (),
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._limit = self._longest = limit
        self._also = also

    def read(self, rest: str = "") -> items.ListPageItems:
        """Return the page of a continue token, or the first page without one."""
        data = self._get(rest)
        if len(data) < connection.MOST // 4:
            self._limit = min(self._limit * 2, self._longest)
        resource = self._resource
        return items.page(data, kind=resource.kind, api_version=resource.api_version, namespace=self._namespace)

    def _get(self, rest: str) -> bytes:
        path = self._resource.path(self._namespace)
        token = (("continue", rest),) if rest else ()
        while True:
            query = (*self._also, ("limit", str(self._limit)), *token)
            most = connection.MOST if self._limit > 1 else _MOST_OF_ONE
            try:
                return self._api.get(path, query=query, accept=connection.METADATA_LIST, most=most)
            except failures.TooBig:
                if self._limit == 1:
                    raise
                self._limit = max(1, self._limit // 4)
