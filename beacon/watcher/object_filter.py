"""Selects the objects whose changes are sent to the store: those that the rule accepts, and those in the wanted set.

The wanted set holds the UIDs of objects that the store tracks or knows as unmanaged: their changes are sent even if
the rule no longer accepts them. Pure. `beacon.cluster.observing` evaluates a single object.
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
    """A change of the watched annotation of an existing object."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class ObjectFilter:
    """Evaluates objects under one rule and maintains the set of wanted UIDs."""

    def __init__(self, rule: rules.ScopeRule, wanted: Iterable[str] = ()) -> None:
        """Start with these wanted UIDs; only the store knows which of them are tracked and which are unmanaged."""
        self._rule = rule
        # The hash of the annotation's value when the object was accepted; None if the store alone wants the UID.
        self._wanted: dict[str, int | None] = dict.fromkeys(wanted)

    def replace_wanted(self, wanted: Iterable[str]) -> None:
        """Replace the set of wanted UIDs; the known values of UIDs that stay are kept."""
        self._wanted = {uid: self._wanted.get(uid) for uid in wanted}

    def listed(self, item: items.Item) -> model.Observation | None:
        """Return the observation of a list item, or None if it need not be sent to the store."""
        observation = self._observe(item, model.ChangeKind.LISTED, 0)
        if observation is not None and observation.verdict is model.RuleVerdict.ACCEPTED:
            self._wanted[item.uid] = hash(observation.value)
        return observation

    def seen(self, line: items.WatchEvent, received_ns: int) -> model.Observation | None:
        """Return the observation of a watch event, or None if it need not be sent to the store."""
        return self._observe(line.item, _CHANGES[line.type], received_ns)

    def follow(self, seen: model.Observation) -> Mutation | None:
        """Record an observation that is sent; return the change of the annotation, or None if none is known."""
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
            # A UID that only the store wants stays wanted: the object may be unmanaged, and its deletion must be sent.
            del self._wanted[seen.uid]
            return Mutation.REMOVED if seen.verdict is model.RuleVerdict.ANNOTATION else None
        return None

    def _observe(self, item: items.Item, change: model.ChangeKind, received_ns: int) -> model.Observation | None:
        return observing.observe(self._rule, item, change, self._wanted, received_ns=received_ns)
