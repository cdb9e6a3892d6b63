"""Which endpoints get the events of an object, and why the others don't. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beacon import wire
from beacon.cli import formatting, output, parked
from beacon.configuration import endpoint_selection, settings
from beacon.domain import model, selection

_SELECTED_BY = {
    selection.NotSelected.KIND: "its select.kinds have no {kind}",
    selection.NotSelected.NAMESPACE: "no pattern of its select.namespaces matches {namespace!r}",
    selection.NotSelected.NAME: "no pattern of its select.names matches {name!r}",
    selection.NotSelected.EXCLUDED: "its exclude matches the object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStory:
    """An endpoint and an object. `why_not` is "" if it gets the object's events of `types`."""

    known: wire.ExplainedEndpoint
    why_not: str
    types: tuple[model.EventType, ...]
    starts_now: bool


def of(
    story: wire.Explanation,
    events: Sequence[wire.EmittedEvent],
    configured: Sequence[settings.EndpointSettings],
    chosen: str = "",
) -> list[EndpointStory]:
    """Return the endpoints of the ledger, or only the chosen one."""
    by_name = {one.name: one for one in configured}
    subject = selection.Subject(
        group=_group(story, events), kind=story.kind, namespace=story.namespace, name=story.name
    )
    return [_story_of(one, by_name.get(one.name), subject) for one in story.endpoints if chosen in ("", one.name)]


def sentences(found: Sequence[EndpointStory], events: Sequence[wire.EmittedEvent], *, alone: bool) -> Iterator[str]:
    """Yield why endpoints do not get the object, or not all of its events; `alone`: it is the only endpoint."""
    for one in found:
        name, known = one.known.name, one.known
        if known.removed_us and not known.written:
            continue  # it has never got the object
        if one.why_not:
            yield f"Endpoint {name} does not get this object: {one.why_not}."
            continue
        if known.paused_us:
            reason = f" ({known.paused_reason})" if known.paused_reason else ""
            yield (
                f"Endpoint {name} has been paused since {formatting.precise(known.paused_us)}{reason}: nothing is sent"
                f" until beacon resume --endpoint {name}."
            )
        elif known.parked_us:
            since = formatting.precise(known.parked_us)
            advice = parked.advice(name, known.parked_cause)
            yield f"Endpoint {name} has been parked since {since} ({known.parked_cause}): {advice}."
        if known.catching_up:
            yield (
                f"Endpoint {name} has not been compared with this object yet since its configuration changed: what it"
                " lacks is sent then."
            )
        yield from _of_missing(one, events, alone=alone)


def plain(one: EndpointStory) -> dict[str, object]:
    """Return the documented form (docs/cli.md)."""
    return {
        "endpoint": one.known.name,
        "selected": not one.why_not,
        "why": one.why_not,
        "types": [type_.value for type_ in one.types],
        "written": one.known.written,
        "accepted": one.known.accepted,
        "catchingUp": one.known.catching_up,
        "parkedSince": formatting.precise(one.known.parked_us),
        "parkedCause": one.known.parked_cause,
        "pausedSince": formatting.precise(one.known.paused_us),
        "removedSince": formatting.precise(one.known.removed_us),
    }


def lines(values: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Render the results of `plain`."""
    rows = [
        (
            one["endpoint"],
            ", ".join(one["types"]) if one["selected"] else "nothing",
            f"last written {one['written'] or '-'}",
            f"last accepted {one['accepted'] or '-'}",
        )
        for one in values
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield from (f"  {output.aligned(row, widths, (False,) * len(widths))}" for row in rows)


def _story_of(
    known: wire.ExplainedEndpoint, configured: settings.EndpointSettings | None, subject: selection.Subject
) -> EndpointStory:
    if configured is None or known.removed_us:
        since = f" since {formatting.precise(known.removed_us)}" if known.removed_us else ""
        why = f"it has not been in the configuration{since}"
        return EndpointStory(known=known, why_not=why, types=(), starts_now=False)
    chosen = endpoint_selection.of(configured)
    reason = chosen.why_no_object(subject)
    why = ""
    if reason:
        kind = selection.kind_of(subject.group, subject.kind)
        why = _SELECTED_BY[reason].format(kind=kind, namespace=subject.namespace, name=subject.name)
    types = () if reason else chosen.types or tuple(model.EventType)
    return EndpointStory(known=known, why_not=why, types=types, starts_now=configured.start == "now")


def _of_missing(one: EndpointStory, events: Sequence[wire.EmittedEvent], *, alone: bool) -> Iterator[str]:
    """Yield why an endpoint that gets the object did not get all of its events."""
    name = one.known.name
    got = {event.sequence for event in events if event.endpoint == name}
    missed = {event.sequence: event for event in events if event.sequence not in got and event.alone in ("", name)}
    left_out = sorted({event.type for event in missed.values()} - {type_.value for type_ in one.types})
    if left_out:
        yield f"Endpoint {name} does not get its events of type {', '.join(left_out)}: its select.types leave them out."
    early = sorted(sequence for sequence, event in missed.items() if event.type not in left_out)
    if one.starts_now and not one.known.written and one.known.present:
        yield (
            f"Endpoint {name} has `start: now`, and the object was tracked before it appeared: only its later changes"
            " are sent."
        )
    elif early and not alone:
        numbers = f"event {early[0]}" if len(early) == 1 else f"events {early[0]} to {early[-1]}"
        yield (
            f"Endpoint {name} did not get {numbers}: its configuration did not select the object then. A catch-up sends"
            " the present state instead."
        )


def _group(story: wire.Explanation, events: Sequence[wire.EmittedEvent]) -> str:
    """Return the object's API group, from the first place that has it."""
    for found in (story.objects, events, story.covering):
        for one in found:
            return one.group
    return ""
