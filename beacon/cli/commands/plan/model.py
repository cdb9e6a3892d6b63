"""Computes the effect of a configuration on the existing objects, with the store's own decisions. Pure.

It uses Beacon's rules and transitions (`domain.rules`, `domain.transitions`), so the forecast differs from the outcome
only if the cluster or the ledger changes in between.
"""

from collections.abc import Iterable, Mapping
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


class Forecast:
    """Computes the counts of one scope, object by object."""

    def __init__(self, scope: rules.Scope, ledger: Ledger | None, *, updates: bool) -> None:
        """Compare with the ledger's rows of the scope; `updates` is `events.updated`."""
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

    def pass_by(self, uid: str, name: str, why: str) -> None:
        """Count an object of the list that cannot be read: it exists, and Beacon leaves its row unchanged."""
        self.counts.objects += 1
        self.counts.unreadable.append(f"{name}: {why}")
        if self.counts.changes is None:
            return
        row = self._unseen.pop(uid, None)
        self.counts.changes.kept += row is not None and row.state is model.ObjectState.TRACKED
        if not uid:
            self._unseen = {}  # it may be any of them

    def finish(self) -> Counts:
        """Count the rows that the complete list has not shown as gone, and return the counts."""
        if self.counts.changes is not None:
            for row in self._unseen.values():
                self.counts.changes.deleted += transitions.vanish(row.state).event is not None
        return self.counts

    def _count(self, row: wire.StoredObject | None, seen: model.Observation, changes: Changes) -> None:
        known = _known(row) if row else None
        now = transitions.Circumstances(
            fingerprint=rules.fingerprint(self._scope.rule, seen.namespace),
            epoch=self._epoch,
            updates=self._updates,
            reason=model.GapReason.CONFIGURATION,
        )
        if known and transitions.is_stale(known, seen, now):
            changes.kept += known.state is model.ObjectState.TRACKED
            return
        step = transitions.step(known, seen, now)
        if step is None:
            return
        changes.new += step.event is model.EventType.CREATED
        changes.updated += step.event is model.EventType.UPDATED
        changes.deleted += step.event is model.EventType.DELETED
        changes.kept += step.state is model.ObjectState.TRACKED and step.event is None
        lost = step.state is model.ObjectState.UNMANAGED and known is not None
        changes.unmanaged += lost and known is not None and known.state is model.ObjectState.TRACKED


def covers(scope: model.ScopeId, row: wire.StoredObject) -> bool:
    """Return True if a row belongs to the scope."""
    return (scope.group, scope.kind) == (row.group, row.kind) and scope.namespace in ("", row.namespace)


def leaving(scopes: Iterable[rules.Scope], ledger: Ledger) -> dict[model.ScopeId, int]:
    """Count the tracked objects that no scope covers: they become unmanaged, without an event."""
    ids = [scope.id for scope in scopes]
    counts: dict[model.ScopeId, int] = {}
    for row in ledger.objects.values():
        if row.state is model.ObjectState.TRACKED and not any(covers(one, row) for one in ids):
            place = model.ScopeId(group=row.group, kind=row.kind, namespace=row.namespace)
            counts[place] = counts.get(place, 0) + 1
    return counts


def _known(row: wire.StoredObject) -> transitions.KnownObject:
    return transitions.KnownObject(
        state=row.state,
        epoch=row.epoch,
        resource_version=row.resource_version,
        judged_by=row.judged_by,
        accepted_by=row.accepted_by,
        value=row.value,
    )
