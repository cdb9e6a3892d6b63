"""One comparison of one scope: list, wait until the watcher has come as far, send the list to the store. Read top-down.

The store alone judges. The first page tells the list's resourceVersion; the others are read only when the cursor has
reached it, so that no more than a page is ever held in memory.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from beacon import bus, errors, wire
from beacon.cluster import connection, discovery, failures, items, lists, observing
from beacon.domain import model, rules

_FIRST_LOOK_S = 0.05
_LONGEST_LOOK_S = 1.0


class ComparisonInvalid(errors.TransientError):
    """The store can't judge this comparison: begin anew."""


class CursorTimeout(errors.TransientError):
    """The scope's cursor did not reach the list in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonDependencies:
    """What a comparison is given. `wait` waits so many seconds, beats, and raises `errors.Stopping` when it is time."""

    api: connection.Connection
    client: bus.Client
    wait: Callable[[float], None]
    page: int = 500


class Comparison:
    """Compares one scope with the cluster once."""

    def __init__(self, scope: rules.Scope, around: ComparisonDependencies, *, until: float) -> None:
        """Be done or give up at the monotonic instant `until`."""
        self._scope = scope
        self._around = around
        self._until = until
        self._nonce = uuid.uuid4().hex
        self._resource: discovery.ServedResource | None = None

    @property
    def plural(self) -> str:
        """The plural of the scope's kind, "" until discovery has answered."""
        return self._resource.plural if self._resource else ""

    def run(self) -> None:
        """Compare.

        Raises:
            Void: something happened meanwhile that makes the comparison doubtful.
            Late: the cursor did not reach the list in time; nothing was applied.
            errors.Stopping: the process is to stop.
            errors.TransientError, errors.PermanentError: the API server or the store does not let us.
        """
        scope, api = self._scope, self._around.api
        resource = self._resource = discovery.find(api, scope.api_version, scope.id.kind, scope.resource)
        cluster = lists.cluster_uid(api)
        self._ask(wire.CompareOpen(scope=scope.id, fingerprint=scope.fingerprint, nonce=self._nonce, cluster=cluster))
        pages = lists.pages(api, resource, scope.id.namespace, limit=self._around.page)
        first = next(pages)
        wanted = self._wait_for_cursor(first.version)
        self._tell(first, pages, wanted, again=lambda: self._again(resource))

    def _wait_for_cursor(self, at: int) -> frozenset[str]:
        """Wait until the watcher has come as far as the list; gives the UIDs that are wanted."""
        request = wire.CompareBegin(scope=self._scope.id, nonce=self._nonce, at=at, api_version=self._scope.api_version)
        look_s = _FIRST_LOOK_S
        while not (reply := self._ask(request)).reached:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise CursorTimeout(f"the watcher did not reach resourceVersion {at} in time")
            self._around.wait(min(look_s, left_s))
            look_s = min(look_s * 2, _LONGEST_LOOK_S)
        return frozenset(reply.tracked)

    def _tell(
        self,
        first: items.ListPageItems,
        rest: Iterator[items.ListPageItems],
        wanted: frozenset[str],
        *,
        again: Callable[[], Iterator[items.ListPageItems]],
    ) -> None:
        at = first.version
        number = count = 0
        identified, witness = True, lists.Witness(wanted)
        page: items.ListPageItems | None = first
        while page is not None:
            self._around.wait(0)
            self._ask(self._page(page, at, number, wanted))
            witness.see(page)
            identified &= page.identified
            number, count = number + 1, count + len(page.uids)
            page = next(rest, None)
        witness.confirm(again)
        self._ask(
            wire.CompareEnd(
                scope=self._scope.id, nonce=self._nonce, at=at, pages=number, count=count, identified=identified
            )
        )

    def _again(self, resource: discovery.ServedResource) -> Iterator[items.ListPageItems]:
        """Read the list once more."""
        for page in lists.pages(self._around.api, resource, self._scope.id.namespace, limit=self._around.page):
            self._around.wait(0)
            yield page

    def _page(self, page: items.ListPageItems, at: int, number: int, wanted: frozenset[str]) -> wire.ComparePage:
        looked = (observing.look(self._scope.rule, item, model.ChangeKind.LISTED, wanted) for item in page.items)
        return wire.ComparePage(
            scope=self._scope.id,
            nonce=self._nonce,
            at=at,
            number=number,
            uids=page.uids,
            versions=page.versions,
            observations=tuple(seen for seen in looked if seen is not None and not observing.too_large(seen)),
        )

    def _ask(self, request: wire.Request[wire.Compared]) -> wire.Compared:
        reply = self._around.client.call(request)
        if reply.place is wire.ApplyResult.RECONFIGURED:
            raise bus.SettingsChanged("the store has started with another configuration")
        if reply.place is not wire.ApplyResult.APPLIED:
            raise ComparisonInvalid(reply.why)
        return reply


def is_hopeless(failure: errors.BeaconError) -> bool:
    """Say whether trying again within this run can't help: only a person, or a kind that appears, can."""
    if isinstance(failure, failures.ApiRefused):
        return failure.status in {401, 403, 404}
    return isinstance(failure, failures.Absent | errors.PermanentError)


def is_absent(failure: errors.BeaconError) -> bool:
    """Say whether the API server does not serve the kind, which is nothing wrong with Beacon."""
    return isinstance(failure, failures.Absent) or (isinstance(failure, failures.ApiRefused) and failure.status == 404)
