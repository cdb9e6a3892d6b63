"""The decision on one observation: from the ledger's rows and the observation to the rows to write.

Pure: no clock, no SQL. `transitions` decides about one object. Here an object may also take over the name of an older
object, whose row then ends first. The store reads the rows, calls `decide` or `ended`, and writes the result.
"""

from collections.abc import Sequence
from dataclasses import replace

from beacon.domain import model, records, transitions


@records.record
class ObjectRow:
    """A row of `objects`: the object's identity and its known state."""

    uid: str
    namespace: str
    name: str
    known: transitions.KnownObject


@records.record
class RowWrite:
    """The new content of one row, and the event to emit, if any.

    `before` is the previous state of the row, None for a new row. `shown` is the object as the event describes it.
    """

    before: model.ObjectState | None
    after: transitions.KnownObject
    shown: model.Observation
    source: model.Source
    event: model.EventType | None = None
    cause: model.Cause | None = None


def decide(
    seen: model.Observation,
    known: transitions.KnownObject | None,
    holders: Sequence[ObjectRow],
    now: transitions.Circumstances,
) -> tuple[RowWrite, ...]:
    """Return the writes that follow from an observation, in order; () if the observation is stale.

    `holders` are the other rows with the object's name that are not gone.
    """
    if known and transitions.is_stale(known, seen, now):
        return ()
    writes: list[RowWrite] = []
    if takes_name(seen, known):
        position = (now.epoch, seen.resource_version)
        if any(position <= (holder.known.epoch, holder.known.resource_version) for holder in holders):
            return ()  # a stale replay: the name has been taken by a newer object since
        writes = [
            ended(one, list_version=seen.resource_version, epoch=now.epoch, source=_SOURCES[seen.change], like=seen)
            for one in holders
        ]
    step = transitions.step(known, seen, now)
    return (*writes, _write(seen, known, step, now)) if step else tuple(writes)


def takes_name(seen: model.Observation, known: transitions.KnownObject | None) -> bool:
    """Return True if the object may take its name from another object.

    While an object is tracked, no other row has its name: a successor would have ended it.
    """
    tracked = known is not None and known.state is model.ObjectState.TRACKED
    return seen.verdict is model.RuleVerdict.ACCEPTED and not tracked


def ended(
    row: ObjectRow, *, list_version: int, epoch: int, source: model.Source, like: model.Observation | None = None
) -> RowWrite:
    """Return the write that ends an object at `list_version`; `like` is the observation that shows the end, if any."""
    step = transitions.vanish(row.known.state)
    shown = model.Observation(
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        resource_version=list_version,
        change=model.ChangeKind.DELETED,
        verdict=model.RuleVerdict.ANNOTATION,
        value=row.known.value,
        labels=row.known.labels,
        annotations=row.known.annotations,
        received_ns=like.received_ns if like else 0,
    )
    return RowWrite(
        before=row.known.state,
        after=replace(row.known, state=step.state, epoch=epoch, resource_version=list_version),
        shown=shown,
        source=source,
        event=step.event,
        cause=step.cause,
    )


def _write(
    seen: model.Observation,
    known: transitions.KnownObject | None,
    step: transitions.Transition,
    now: transitions.Circumstances,
) -> RowWrite:
    accepted = seen.verdict is model.RuleVerdict.ACCEPTED and seen.change is not model.ChangeKind.DELETED
    value = seen.value if accepted or known is None else known.value
    return RowWrite(
        before=known.state if known else None,
        after=transitions.KnownObject(
            state=step.state,
            epoch=now.epoch,
            resource_version=seen.resource_version,
            judged_by=now.fingerprint,
            accepted_by=now.fingerprint if accepted or known is None else known.accepted_by,
            value=value,
            labels=seen.labels,
            annotations=seen.annotations,
        ),
        shown=seen if accepted else replace(seen, value=value),
        source=_SOURCES[seen.change],
        event=step.event,
        cause=step.cause,
    )


_SOURCES = {
    model.ChangeKind.ADDED: model.Source.WATCH,
    model.ChangeKind.DELETED: model.Source.WATCH,
    model.ChangeKind.MODIFIED: model.Source.MUTATION,
    model.ChangeKind.LISTED: model.Source.RECONCILIATION,
}
