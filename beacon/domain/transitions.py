"""The state table: the meaning of a new observation of an object, given its state in the ledger, as pure functions.

No clock, no SQL. `step` decides about one object, `vanish` about an object that a complete list does not contain or
whose name belongs to a newer object. Source: docs/architecture.md, the table of transitions.
"""

from collections.abc import Mapping
from dataclasses import field

from beacon.domain import model, records, rules


@records.record
class KnownObject:
    """The known state of an object.

    `judged_by` is the fingerprint of the rule that evaluated it last, `accepted_by` of the rule that accepted it last.
    `value`, `labels` and `annotations` are those of its last acceptance.
    """

    state: model.ObjectState
    epoch: int
    resource_version: int
    judged_by: str
    accepted_by: str
    value: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@records.record
class Circumstances:
    """The inputs of a decision besides the object; `reason` is that of the running list, None if no list runs."""

    fingerprint: str
    epoch: int
    updates: bool
    reason: model.GapReason | None = None


@records.record
class Transition:
    """The object's new state and the event to emit, if any."""

    state: model.ObjectState
    event: model.EventType | None = None
    cause: model.Cause | None = None


def is_stale(known: KnownObject, seen: model.Observation, now: Circumstances) -> bool:
    """Return True if an observation contains nothing new and must be dropped."""
    if known.epoch != now.epoch:
        return known.epoch > now.epoch
    if seen.resource_version != known.resource_version:
        return seen.resource_version < known.resource_version
    again = known.state is model.ObjectState.UNMANAGED and seen.verdict is model.RuleVerdict.ACCEPTED
    return not again and known.judged_by == now.fingerprint


def is_impossible(state: model.ObjectState, held: int, *, listed: int, list_version: int) -> bool:
    """Return True if a list at `list_version` contradicts a row of the same epoch: the cluster was restored.

    `held` is the resourceVersion of the row, `listed` that of the object in the list. The contradiction: the object is
    older than in the ledger, although the ledger's observation precedes the list, or an object that is gone exists
    again.
    """
    return held <= list_version and (listed < held or state is model.ObjectState.GONE)


def step(known: KnownObject | None, seen: model.Observation, now: Circumstances) -> Transition | None:
    """Return the transition for an observation that is not stale; None if the object is unknown and not accepted."""
    if seen.change is model.ChangeKind.DELETED:
        return vanish(known.state) if known else None
    if seen.verdict is model.RuleVerdict.ACCEPTED:
        return _accepted(known, seen, now)
    return _refused(known, seen, now) if known else None


def vanish(state: model.ObjectState) -> Transition:
    """Return the transition for an object that is gone, or whose name belongs to a newer object."""
    if state in (model.ObjectState.TRACKED, model.ObjectState.UNMANAGED):
        return Transition(state=model.ObjectState.GONE, event=model.EventType.DELETED, cause=model.Cause.OBJECT_DELETED)
    return Transition(state=model.ObjectState.GONE)


def _accepted(known: KnownObject | None, seen: model.Observation, now: Circumstances) -> Transition:
    tracked = model.ObjectState.TRACKED
    if known is None or known.state in (model.ObjectState.RELEASED, model.ObjectState.GONE):
        return Transition(state=tracked, event=model.EventType.CREATED, cause=_cause_of_creation(known, seen, now))
    if known.state is model.ObjectState.TRACKED and now.updates and _is_changed(known, seen, now):
        return Transition(state=tracked, event=model.EventType.UPDATED, cause=model.Cause.ANNOTATION_CHANGED)
    return Transition(state=tracked)


def _is_changed(known: KnownObject, seen: model.Observation, now: Circumstances) -> bool:
    newer = (now.epoch, seen.resource_version) > (known.epoch, known.resource_version)
    comparable = rules.same_annotation(known.accepted_by, now.fingerprint)
    return newer and comparable and seen.value != known.value


def _cause_of_creation(known: KnownObject | None, seen: model.Observation, now: Circumstances) -> model.Cause:
    if known and known.judged_by != now.fingerprint:
        return model.Cause.CONFIGURATION
    if seen.change is model.ChangeKind.LISTED:
        return model.Cause.CONFIGURATION if now.reason is model.GapReason.CONFIGURATION else model.Cause.FIRST_SEEN
    return model.Cause.OBJECT_CREATED if seen.change is model.ChangeKind.ADDED else model.Cause.ANNOTATION_ADDED


def _refused(known: KnownObject, seen: model.Observation, now: Circumstances) -> Transition:
    if known.state is model.ObjectState.TRACKED:
        return _lost(seen) if known.judged_by == now.fingerprint else Transition(state=model.ObjectState.UNMANAGED)
    if known.state is model.ObjectState.UNMANAGED:
        return _lost(seen) if known.accepted_by == now.fingerprint else Transition(state=model.ObjectState.UNMANAGED)
    return Transition(state=model.ObjectState.RELEASED)


def _lost(seen: model.Observation) -> Transition:
    causes = {
        model.RuleVerdict.LABEL: model.Cause.LABEL_REMOVED,
        model.RuleVerdict.ANNOTATION: model.Cause.ANNOTATION_REMOVED,
        model.RuleVerdict.NAMESPACE: model.Cause.CONFIGURATION,
    }
    return Transition(state=model.ObjectState.RELEASED, event=model.EventType.DELETED, cause=causes[seen.verdict])
