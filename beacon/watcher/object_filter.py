"""What the store must hear of an object: accepted ones, and those it wants to hear of whatever they are now.

Pure. How one object is looked at stands in `beacon.cluster.observing`; here is which UIDs are wanted.
"""

from collections.abc import Iterable
from enum import StrEnum

from beacon.cluster import items, observing
from beacon.domain import model, rules

_CHANGES = {
    "ADDED": model.ChangeKind.ADDED,
    "MODIFIED": model.ChangeKind.MODIFIED,
    "DELETED": model.ChangeKind.DELETED,
}


class Mutation(StrEnum):
    """What happened to the watched annotation of a living object."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class ObjectFilter:
    """Judges objects under one rule and keeps the set of UIDs that are wanted."""

    def __init__(self, rule: rules.ScopeRule, wanted: Iterable[str] = ()) -> None:
        """Want the given UIDs; whether those are tracked or unmanaged only the store knows."""
        self._rule = rule
        # The hash of the value with which an object was accepted; None: wanted by the store, for whatever reason.
        self._wanted: dict[str, int | None] = dict.fromkeys(wanted)

    def renew(self, wanted: Iterable[str]) -> None:
        """Want the given UIDs and no other."""
        self._wanted = {uid: self._wanted.get(uid) for uid in wanted}

    def listed(self, item: items.Item) -> model.Observation | None:
        """Look at an item of a list; None: it concerns nobody."""
        observation = self._look(item, model.ChangeKind.LISTED, 0)
        if observation is not None and observation.verdict is model.RuleVerdict.ACCEPTED:
            self._wanted[item.uid] = hash(observation.value)
        return observation

    def seen(self, line: items.WatchEvent, received_ns: int) -> model.Observation | None:
        """Look at a line of a watch; None: it concerns nobody."""
        return self._look(line.item, _CHANGES[line.type], received_ns)

    def follow(self, seen: model.Observation) -> Mutation | None:
        """Remember what was sent, and say what has become of the annotation, if anything and if that is known."""
        if seen.change is model.ChangeKind.DELETED:
            self._wanted.pop(seen.uid, None)
            return None
        known = seen.uid in self._wanted
        before = self._wanted.get(seen.uid)
        if seen.verdict is model.RuleVerdict.ACCEPTED:
            now = self._wanted[seen.uid] = hash(seen.value)
            if seen.change is model.ChangeKind.ADDED or (known and before in (None, now)):
                return None
            return Mutation.CHANGED if known else Mutation.ADDED
        if before is not None:
            # One that only the store knows may be unmanaged: it stays so, and its deletion must still be told.
            del self._wanted[seen.uid]
            return Mutation.REMOVED if seen.verdict is model.RuleVerdict.ANNOTATION else None
        return None

    def _look(self, item: items.Item, change: model.ChangeKind, received_ns: int) -> model.Observation | None:
        return observing.look(self._rule, item, change, self._wanted, received_ns=received_ns)
