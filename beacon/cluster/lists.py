"""Lists: metadata only, in pages, all at one resourceVersion, read from etcd's quorum and not from a cache.

No `resourceVersion` is sent, which is what makes a list a quorum read. Source: Kubernetes documentation, "Kubernetes
API Concepts", semantics for `get` and `list`.

Pages are bounded in bytes: one that is larger is asked for again with a smaller `limit`, which grows again when pages
are small. A single object may have as much as any server can send of it.
"""

from collections.abc import Callable, Collection, Iterator

from beacon.cluster import connection, discovery, endless, failures, items

_CLUSTER = "/api/v1/namespaces/kube-system"


_MOST_OF_ONE = 16 * 1024 * 1024  # of an object that is alone on its page, or of a page of a server that knows no pages
_HANDFUL = 5


def current(api: connection.Connection, resource: discovery.ServedResource, namespace: str) -> int:
    """Read the present resourceVersion of a resource.

    Raises:
        failures.Refused, failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    return _Pages(api, resource, namespace, limit=1).read().version


def pages(
    api: connection.Connection, resource: discovery.ServedResource, namespace: str, *, limit: int = 500
) -> Iterator[items.ListPageItems]:
    """Read a collection page by page, each when it is asked for; `limit` is the most objects of one.

    Raises:
        failures.Refused: as any; 410 when the pages can no longer be read at the resourceVersion of the first.
        failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    reader = _Pages(api, resource, namespace, limit=limit)
    guard = endless.ListGuard()
    page = reader.read()
    at, first = page.version, frozenset(page.uids)
    guard.check(page)
    yield page
    while page.rest:
        before, page = frozenset(page.uids), reader.read(page.rest)
        if page.version != at:
            raise failures.Malformed(f"the API server changed from resourceVersion {at} to {page.version} in a list")
        if not first.isdisjoint(page.uids) or not before.isdisjoint(page.uids):
            raise failures.Malformed("the API server listed an object twice")
        guard.check(page)
        yield page


class Witness:
    """Doubts a list that shows none of many objects that are known to exist: it is believed if a second one agrees.

    A UID that is gone never comes back, so an object that a second list shows proves that the first one was wrong.
    """

    def __init__(self, known: Collection[str]) -> None:
        """Expect some of these UIDs to be listed, if they are more than a handful."""
        self._known = frozenset(known)
        self._seen = len(self._known) <= _HANDFUL

    def see(self, page: items.ListPageItems) -> None:
        """Take a page of the list."""
        self._seen = self._seen or not self._known.isdisjoint(page.uids)

    def confirm(self, read: Callable[[], Iterator[items.ListPageItems]]) -> None:
        """Read the list again if it showed none of the known objects.

        Raises:
            failures.Malformed: the second list shows one of them, so the first can't be used.
        """
        if self._seen:
            return
        for page in read():
            self.see(page)
            if self._seen:
                raise failures.Malformed(
                    f"the API server left all {len(self._known)} objects that are tracked out of a list, and listed"
                    " them again when it was asked a second time"
                )


def one(
    api: connection.Connection, resource: discovery.ServedResource, namespace: str, name: str
) -> items.Item | items.Unreadable | None:
    """Read a single object by a list, for which the right to list is enough; None when it is not there.

    Raises:
        failures.Refused, failures.Unreachable, failures.Malformed, failures.Unsuitable: see there.
    """
    page = _Pages(api, resource, namespace, limit=1, also=(("fieldSelector", f"metadata.name={name}"),)).read()
    return next(iter(page.items), None) or next(iter(page.unreadable), None)


def cluster_uid(api: connection.Connection) -> str:
    """Read what tells this cluster from another: the UID of namespace kube-system; "" when it may not be read.

    Raises:
        failures.Unreachable: no answer.
        failures.Refused: the API server is not well; a refused right or an absent namespace is no error.
    """
    try:
        return items.object_uid(api.get(_CLUSTER, accept=connection.METADATA), kind="Namespace")
    except failures.ApiRefused as error:
        if error.status in (403, 404, 406):
            return ""
        raise


class _Pages:
    """Reads pages of a collection, as many objects at a time as fit."""

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
        """Read the page that a continue token names, the first without one."""
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
