"""Computes the effect of a configuration on the existing objects, with the store's own decisions. Pure.

It uses Beacon's rules and transitions (`domain.rules`, `domain.transitions`), so the forecast differs from the outcome
only if the cluster or the ledger changes in between.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from beacon import wire
from beacon.domain import model, rules, transitions

Known = Mapping[str, wire.StoredObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The objects in the running Beacon's ledger by UID, and the ledger's cluster."""

    cluster: str
    epoch: int
    objects: Known


@dataclass(slots=True, kw_only=True)
class Changes:
    """The number of objects per transition."""

    kept: int = 0  # tracked before and after; no event
    new: int = 0  # a `created` event
    updated: int = 0  # an `updated` event
    unmanaged: int = 0  # tracked before, not accepted after; no event
    deleted: int = 0  # a `deleted` event: the object is gone or no longer meets the unchanged rule


@dataclass(slots=True, kw_only=True)
class Counts:
    """The objects of one scope: all, annotated, accepted, and their transitions."""

    objects: int = 0
    annotated: int = 0
    matching: int = 0
    unreadable: list[str] = field(default_factory=list)  # objects that cannot be read, with reasons
    changes: Changes | None = None  # None: there is no ledger to compare with


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectName:
    """An object by its name, which is the key of its events' order."""

    group: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsAfterStart:
    """The objects after the start: those that are tracked with UID and value, and the events of their changes.

    `left` are unmanaged, or unknown: nothing is sent for them.
    """

    tracked: dict[ObjectName, tuple[str, str]] = field(default_factory=dict)
    left: set[ObjectName] = field(default_factory=set)
    events: dict[ObjectName, list[model.EventType]] = field(default_factory=dict)

    def keep(self, row: wire.StoredObject) -> None:
        """Add an object that stays as the ledger has it."""
        self.move(subject_of(row), row.state, row.uid, row.value)

    def leave(self, row: wire.StoredObject) -> None:
        """Add an object that is not watched any more."""
        if row.state in (model.ObjectState.TRACKED, model.ObjectState.UNMANAGED):
            self.left.add(subject_of(row))

    def move(
        self, subject: ObjectName, state: model.ObjectState, uid: str, value: str, event: model.EventType | None = None
    ) -> None:
        """Add an object in its new state, with the event of the change."""
        if state is model.ObjectState.TRACKED:
            self.tracked[subject] = (uid, value)
        if state is model.ObjectState.UNMANAGED:
            self.left.add(subject)
        if event is not None:
            self.events.setdefault(subject, []).append(event)


class Forecast:
    """Computes the counts of one scope, object by object."""

    def __init__(
        self, scope: rules.Scope, ledger: Ledger | None, *, updates: bool, outcome: ObjectsAfterStart | None = None
    ) -> None:
        """Compare with the ledger's rows of the scope; `updates` is `events.updated`. Add the objects to `outcome`."""
        self._outcome = outcome or ObjectsAfterStart()
        self.counts = Counts(changes=None if ledger is None else Changes())
        self._scope = scope
        self._updates = updates
        self._epoch = ledger.epoch if ledger else 0
        held = ledger.objects.values() if ledger else ()
        self._unseen = {one.uid: one for one in held if covers(scope.id, one)}

    @property
    def wanted(self) -> Known:
        """Return the ledger's rows that the list has not shown yet; they are evaluated even if not annotated."""
        return self._unseen

    def see(self, seen: model.Observation | None, *, annotated: bool) -> None:
        """Count an object of the list; None: it is neither accepted nor in the ledger."""
        self.counts.objects += 1
        self.counts.annotated += annotated
        if seen is None:
            return
        self.counts.matching += seen.verdict is model.RuleVerdict.ACCEPTED
        if self.counts.changes is not None:
            self._count(self._unseen.pop(seen.uid, None), seen, self.counts.changes)
        elif seen.verdict is model.RuleVerdict.ACCEPTED:
            self._outcome.move(self._subject(seen), model.ObjectState.TRACKED, seen.uid, seen.value)

    def pass_by(self, uid: str, name: str, why: str) -> None:
        """Count an object of the list that cannot be read: it exists, and Beacon leaves its row unchanged."""
        self.counts.objects += 1
        self.counts.unreadable.append(f"{name}: {why}")
        if self.counts.changes is None:
            return
        row = self._unseen.pop(uid, None)
        self.counts.changes.kept += row is not None and row.state is model.ObjectState.TRACKED
        for kept in [row] if row else []:
            self._outcome.keep(kept)
        if not uid:
            for kept in self._unseen.values():
                self._outcome.keep(kept)
            self._unseen = {}  # it may be any of them

    def finish(self) -> Counts:
        """Count the rows that the complete list has not shown as gone, and return the counts."""
        if self.counts.changes is not None:
            for row in self._unseen.values():
                gone = transitions.vanish(row.state)
                self.counts.changes.deleted += gone.event is not None
                self._outcome.move(subject_of(row), gone.state, row.uid, row.value, gone.event)
        return self.counts

    def give_up(self) -> None:
        """Leave the ledger's objects of the scope as they are, because it cannot be listed."""
        for row in self._unseen.values():
            self._outcome.keep(row)

    def _subject(self, seen: model.Observation) -> ObjectName:
        scope = self._scope.id
        return ObjectName(group=scope.group, kind=scope.kind, namespace=seen.namespace, name=seen.name)

    def _count(self, row: wire.StoredObject | None, seen: model.Observation, changes: Changes) -> None:
        known = _known(row) if row else None
        now = transitions.Circumstances(
            fingerprint=rules.fingerprint(self._scope.rule, seen.namespace),
            epoch=self._epoch,
            updates=self._updates,
            reason=model.GapReason.CONFIGURATION,
        )
        if row and known and transitions.is_stale(known, seen, now):
            changes.kept += known.state is model.ObjectState.TRACKED
            self._outcome.keep(row)
            return
        step = transitions.step(known, seen, now)
        if step is None:
            return
        self._outcome.move(self._subject(seen), step.state, seen.uid, seen.value, step.event)
        changes.new += step.event is model.EventType.CREATED
        changes.updated += step.event is model.EventType.UPDATED
        changes.deleted += step.event is model.EventType.DELETED
        changes.kept += step.state is model.ObjectState.TRACKED and step.event is None
        lost = step.state is model.ObjectState.UNMANAGED and known is not None
        changes.unmanaged += lost and known is not None and known.state is model.ObjectState.TRACKED


def covers(scope: model.ScopeId, row: wire.StoredObject) -> bool:
    """Return True if a row belongs to the scope."""
    return (scope.group, scope.kind) == (row.group, row.kind) and scope.namespace in ("", row.namespace)


def uncovered(scopes: Iterable[rules.Scope], ledger: Ledger) -> Iterator[wire.StoredObject]:
    """Yield the ledger's rows that no scope covers."""
    ids = [scope.id for scope in scopes]
    yield from (row for row in ledger.objects.values() if not any(covers(one, row) for one in ids))


def leaving(scopes: Iterable[rules.Scope], ledger: Ledger) -> dict[model.ScopeId, int]:
    """Count the tracked objects that no scope covers: they become unmanaged, without an event."""
    counts: dict[model.ScopeId, int] = {}
    for row in uncovered(scopes, ledger):
        if row.state is model.ObjectState.TRACKED:
            place = model.ScopeId(group=row.group, kind=row.kind, namespace=row.namespace)
            counts[place] = counts.get(place, 0) + 1
    return counts


def subject_of(row: wire.StoredObject | wire.StoredView) -> ObjectName:
    """Return the object of a row by its name."""
    return ObjectName(group=row.group, kind=row.kind, namespace=row.namespace, name=row.name)


def _known(row: wire.StoredObject) -> transitions.KnownObject:
    return transitions.KnownObject(
        state=row.state,
        epoch=row.epoch,
        resource_version=row.resource_version,
        judged_by=row.judged_by,
        accepted_by=row.accepted_by,
        value=row.value,
    )
