"""One comparison of one scope: list, wait for the watcher's cursor, send the list to the store. Read top-down.

Only the store compares. The first page contains the list's resourceVersion; the others are read once the cursor has
reached it, so that only one page at a time is in memory.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from beacon import bus, errors, wire
from beacon.cluster import connection, discovery, failures, items, lists, observing
from beacon.domain import model, rules

_FIRST_POLL_S = 0.05
_LONGEST_POLL_S = 4.0


class ComparisonInvalid(errors.TransientError):
    """The store can't use this comparison: start a new one."""


class CursorTimeout(errors.TransientError):
    """The scope's cursor did not reach the list in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonDependencies:
    """The collaborators of a comparison.

    `wait` waits the given seconds, writes heartbeats, and raises `errors.Stopping` if the process was asked to stop.
    """

    api: connection.Connection
    link: bus.Link
    wait: Callable[[float], None]
    page: int = 500


class Comparison:
    """Compares one scope with the cluster once."""

    def __init__(self, scope: rules.Scope, deps: ComparisonDependencies, *, until: float) -> None:
        """Compare `scope` with a time limit at the monotonic instant `until`."""
        self._scope = scope
        self._deps = deps
        self._until = until
        self._nonce = uuid.uuid4().hex
        self._resource: discovery.ServedResource | None = None

    @property
    def plural(self) -> str:
        """Return the plural of the scope's kind, "" until discovery has answered."""
        return self._resource.plural if self._resource else ""

    def run(self) -> None:
        """Compare.

        Raises:
            ComparisonInvalid: the scope's position changed meanwhile in a way that invalidates the comparison.
            CursorTimeout: the cursor did not reach the list in time; nothing was applied.
            errors.Stopping: the process was asked to stop.
            errors.TransientError, errors.PermanentError: the API server or the store rejected a request.
        """
        scope, api = self._scope, self._deps.api
        self._deps.link.renew()
        resource = self._resource = discovery.find(api, scope.api_version, scope.id.kind, scope.resource)
        cluster = lists.cluster_uid(api)
        self._call(wire.CompareOpen(scope=scope.id, fingerprint=scope.fingerprint, nonce=self._nonce, cluster=cluster))
        pages = lists.pages(api, resource, scope.id.namespace, limit=self._deps.page)
        first = next(pages)
        wanted = self._wait_for_cursor(first.version)
        self._send_list(first, pages, wanted, read_again=lambda: self._read_again(resource))

    def _wait_for_cursor(self, list_version: int) -> frozenset[str]:
        """Wait until the watcher's cursor has reached the list; return the UIDs of the wanted objects."""
        request = wire.CompareBegin(
            scope=self._scope.id, nonce=self._nonce, at=list_version, api_version=self._scope.api_version
        )
        poll_s = _FIRST_POLL_S
        while not (reply := self._call(request)).reached:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise CursorTimeout(f"the watcher did not reach resourceVersion {list_version} in time")
            self._deps.wait(min(poll_s, left_s))
            poll_s = min(poll_s * 2, _LONGEST_POLL_S)
        return frozenset(reply.tracked)

    def _send_list(
        self,
        first: items.ListPageItems,
        rest: Iterator[items.ListPageItems],
        wanted: frozenset[str],
        *,
        read_again: Callable[[], Iterator[items.ListPageItems]],
    ) -> None:
        list_version = first.version
        number = count = 0
        identified, witness = True, lists.Witness(wanted)
        page: items.ListPageItems | None = first
        while page is not None:
            self._deps.wait(0)
            self._call(self._page(page, list_version, number, wanted))
            witness.see(page)
            identified &= page.identified
            number, count = number + 1, count + len(page.uids)
            page = next(rest, None)
        witness.confirm(read_again)
        self._call(
            wire.CompareEnd(
                scope=self._scope.id,
                nonce=self._nonce,
                at=list_version,
                pages=number,
                count=count,
                identified=identified,
            )
        )

    def _read_again(self, resource: discovery.ServedResource) -> Iterator[items.ListPageItems]:
        """Yield the pages of a second list."""
        for page in lists.pages(self._deps.api, resource, self._scope.id.namespace, limit=self._deps.page):
            self._deps.wait(0)
            yield page

    def _page(
        self, page: items.ListPageItems, list_version: int, number: int, wanted: frozenset[str]
    ) -> wire.ComparePage:
        observed = (observing.observe(self._scope.rule, item, model.ChangeKind.LISTED, wanted) for item in page.items)
        return wire.ComparePage(
            scope=self._scope.id,
            nonce=self._nonce,
            at=list_version,
            number=number,
            uids=page.uids,
            versions=page.versions,
            observations=tuple(seen for seen in observed if seen is not None and not observing.too_large(seen)),
        )

    def _call(self, request: wire.Request[wire.Compared]) -> wire.Compared:
        reply = self._deps.link.call(request)
        if reply.place is wire.ApplyResult.RECONFIGURED:
            raise bus.SettingsChanged("the store has started with another configuration")
        if reply.place is not wire.ApplyResult.APPLIED:
            raise ComparisonInvalid(reply.why)
        return reply


def is_hopeless(failure: errors.BeaconError) -> bool:
    """Return True if a retry within this run can't help: an operator must act, or the kind must first be served."""
    if isinstance(failure, failures.ApiRefused):
        return failure.status in {401, 403, 404}
    return isinstance(failure, failures.Absent | errors.PermanentError)


def is_absent(failure: errors.BeaconError) -> bool:
    """Return True if the API server does not serve the kind, which is no error of Beacon."""
    return isinstance(failure, failures.Absent) or (isinstance(failure, failures.ApiRefused) and failure.status == 404)
