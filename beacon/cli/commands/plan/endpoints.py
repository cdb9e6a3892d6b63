"""Computes what each endpoint would get after a start with a configuration, with the store's own decisions. Pure.

An endpoint whose configuration stays the same gets the events of the changes that it selects. One that is new, returns
or selects something else is compared with what was written for it, as the store's catch-up does.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from beacon import wire
from beacon.cli.commands.plan import model as objects
from beacon.configuration import endpoint_selection, settings
from beacon.domain import model, selection

Views = Mapping[objects.ObjectName, tuple[str, str]]  # UID and value, as they were sent


class Change(StrEnum):
    """What a start would change about an endpoint."""

    NONE = ""
    NEW = "new"
    RETURNS = "returns"
    RENAMED = "renamed"
    CHANGED = "changed"  # what it gets


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEndpoints:
    """The endpoints of the ledger by name, and what was written for each."""

    known: Mapping[str, wire.StoredEndpoint]
    views: Mapping[str, Views]


@dataclass(slots=True, kw_only=True)
class EndpointForecast:
    """An endpoint: the objects that it selects, and its first events by type; `catch_up` are those for it alone."""

    name: str
    change: Change
    objects: int
    events: Counter[model.EventType] | None  # None: there is no ledger to compare with
    catch_up: Counter[model.EventType] = field(default_factory=Counter)


def forecast(
    tree: settings.Settings,
    outcome: objects.ObjectsAfterStart,
    ledger: objects.Ledger | None,
    kept: LedgerEndpoints | None,
) -> list[EndpointForecast]:
    """Return what each configured endpoint would get."""
    return [_Endpoint(one, tree, outcome, ledger, kept).forecast() for one in tree.endpoints]


def removed(tree: settings.Settings, kept: LedgerEndpoints | None) -> Iterator[wire.StoredEndpoint]:
    """Yield the endpoints that are configured now, and would not be."""
    names = {one.name for one in tree.endpoints}
    names |= {one.name for one in [_renamed(tree, kept)] if one}
    yield from (one for one in (kept.known if kept else {}).values() if not one.removed and one.name not in names)


def _renamed(tree: settings.Settings, kept: LedgerEndpoints | None) -> wire.StoredEndpoint | None:
    """Return the ledger's only endpoint, if it would get the name of the only configured one, as the store decides."""
    live = [one for one in (kept.known if kept else {}).values() if not one.removed]
    if kept is None or len(live) != 1 or len(tree.endpoints) != 1 or tree.endpoint.name in kept.known:
        return None
    digest = hashlib.sha256(tree.endpoint.url.encode()).hexdigest()
    return live[0] if live[0].url_digest in ("", digest) else None


class _Endpoint:
    def __init__(
        self,
        one: settings.EndpointSettings,
        tree: settings.Settings,
        outcome: objects.ObjectsAfterStart,
        ledger: objects.Ledger | None,
        kept: LedgerEndpoints | None,
    ) -> None:
        self._one = one
        self._updates = tree.events.updated
        self._outcome = outcome
        self._ledger = ledger
        self._kept = kept
        self._selection = endpoint_selection.of(one)
        self._renamed = _renamed(tree, kept)

    def forecast(self) -> EndpointForecast:
        selected = [subject for subject in self._outcome.tracked if self._selects(subject)]
        found = EndpointForecast(
            name=self._one.name,
            change=self._change(),
            objects=len(selected),
            events=None if self._kept is None else Counter(),
        )
        if found.events is None:
            return found
        views = self._views(found.change)
        for subject, ordinary in self._outcome.events.items() if views is None else ():
            found.events.update(event for event in ordinary if self._gets(subject, event))
        for subject in set() if views is None else {*views, *selected}:
            ordinary = list(self._outcome.events.get(subject, ()))
            for event in self._differences(subject, views or {}):
                found.events[event] += 1
                if event in ordinary:
                    ordinary.remove(event)
                else:
                    found.catch_up[event] += 1
        return found

    def _change(self) -> Change:
        if self._kept is None:
            return Change.NONE
        known = self._kept.known.get(self._one.name) or self._renamed
        if known is None:
            return Change.NEW
        if known.removed:
            return Change.RETURNS
        recorded, updates = known.selection, known.updates
        if recorded and (recorded != self._selection.recorded() or updates is not self._updates):
            return Change.CHANGED
        return Change.RENAMED if known.name != self._one.name else Change.NONE

    def _views(self, change: Change) -> Views | None:
        """Return what was written for the endpoint; None if it is not compared."""
        if self._kept is None or change in (Change.NONE, Change.RENAMED):
            return None
        if change is Change.NEW:
            return self._at_start()
        name = self._one.name if self._one.name in self._kept.known or not self._renamed else self._renamed.name
        return self._kept.views.get(name, {})

    def _at_start(self) -> Views:
        """Return the views of a new endpoint: with `start: now` those of all tracked objects."""
        rows = self._ledger.objects.values() if self._ledger and self._one.start == "now" else ()
        return {objects.subject_of(row): (row.uid, row.value) for row in rows if row.state is model.ObjectState.TRACKED}

    def _differences(self, subject: objects.ObjectName, views: Views) -> Iterator[model.EventType]:
        """Yield the events between what was written and the object's state after the start."""
        view, tracked = views.get(subject), self._outcome.tracked.get(subject)
        if subject in self._outcome.left or not self._selects(subject):
            return
        differences: list[model.EventType] = []
        if view and (tracked is None or tracked[0] != view[0]):
            differences.append(model.EventType.DELETED)
        if tracked and (view is None or tracked[0] != view[0]):
            differences.append(model.EventType.CREATED)
        elif tracked and view and self._updates and not _is_sent(tracked[1], view[1]):
            differences.append(model.EventType.UPDATED)
        yield from (event for event in differences if self._gets(subject, event))

    def _selects(self, subject: objects.ObjectName) -> bool:
        return self._selection.why_no_object(_subject(subject)) is None

    def _gets(self, subject: objects.ObjectName, event: model.EventType) -> bool:
        return self._selection.why_not(_subject(subject), event) is None


def _subject(one: objects.ObjectName) -> selection.Subject:
    return selection.Subject(group=one.group, kind=one.kind, namespace=one.namespace, name=one.name)


def _is_sent(value: str, sent: str) -> bool:
    """Return True if a value was sent; a long one was truncated."""
    return value == sent or (len(sent.encode()) >= _TRUNCATED_BYTES and value.startswith(sent))


_TRUNCATED_BYTES = 4096 - 3  # the last character may have up to four bytes


def plain(found: Sequence[EndpointForecast]) -> list[dict[str, object]]:
    """Return the documented form (docs/cli.md)."""
    return [
        {
            "endpoint": one.name,
            "change": one.change.value,
            "objects": one.objects,
            **_numbers(one.events),
            "catchUp": _numbers(one.catch_up if one.events is not None else None),
        }
        for one in found
    ]


def _numbers(events: Counter[model.EventType] | None) -> dict[str, int | None]:
    return {type_.value: None if events is None else events[type_] for type_ in model.EventType}


def sentences(gone: Iterable[wire.StoredEndpoint]) -> Iterator[str]:
    """Describe the endpoints that would be removed."""
    for one in gone:
        left = f": its {one.unsettled} open or failed deliveries are kept" if one.unsettled else ""
        yield f"endpoint {one.name} will be removed, and get no new events{left}"
