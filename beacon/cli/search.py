"""Reads the selected deliveries page by page and renders them; completes kinds and ids as they are typed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from beacon import bus, errors, wire
from beacon.cli import filters, formatting, output
from beacon.domain import builtin

_TIMEOUT_S = 5.0
_HEAD = ("SEQUENCE", "STATE", "TYPE", "KIND", "OBJECT", "DETECTED", "REQUESTS", "ANSWER", "EVENT ID")
_WIDE = ("ENDPOINT", "CAUSE", "SOURCE", "GENERATION", "NEXT ATTEMPT", "SETTLED", "UID", "ERROR")
_WHOLE_ID = 36  # characters of a UUID
SHORTEST_PREFIX = 4


def walk(
    client: bus.Client, selection: wire.DeliveryFilter, *, after: int = 0, newest_first: bool = False
) -> Iterator[wire.DeliverySummary]:
    """Yield every selected delivery, one page of the store at a time.

    Raises:
        errors.TransientError: the store does not answer.
    """
    more = True
    while more:
        request = wire.FindDeliveries(selection=selection, after=after, newest_first=newest_first)
        page = client.try_call(request, timeout_s=_TIMEOUT_S)
        yield from page.deliveries
        after, more = page.after, page.more


def resolve(client: bus.Client, selection: wire.DeliveryFilter) -> wire.DeliveryFilter:
    """Return the selection with kind, UID and event ids as the ledger has them.

    Raises:
        errors.PermanentError: an id is ambiguous or too short.
        errors.TransientError: the store does not answer.
    """
    return replace(
        selection,
        kind=kind(client, selection.kind) if selection.kind else "",
        uid=whole_id(client, selection.uid, events=False) if selection.uid else "",
        ids=tuple(dict.fromkeys(whole_id(client, one, objects=False) for one in selection.ids)),
    )


def kind(client: bus.Client, word: str) -> str:
    """Return the kind for a kind, a plural or a short name in any case; an unknown word is returned unchanged.

    Raises:
        errors.TransientError: the store does not answer.
    """
    found = filters.kind_of(word, client.try_call(wire.Inspect(), timeout_s=_TIMEOUT_S).scopes)
    if builtin.kind_of(found):
        return found
    # The store finds the kinds of its objects in any case, also those that are no longer configured.
    return client.try_call(wire.Explain(kind=found, name="-"), timeout_s=_TIMEOUT_S).kind


def whole_id(client: bus.Client, text: str, *, events: bool = True, objects: bool = True) -> str:
    """Return the id of an event or the UID of an object that begins with a text; the text if there is none.

    Raises:
        errors.PermanentError: several ids begin with the text, or it is too short to be looked up.
        errors.TransientError: the store does not answer.
    """
    if len(text) >= _WHOLE_ID:
        return text
    if len(text) < SHORTEST_PREFIX:
        raise errors.PermanentError(f"{text!r} is too short for an id: name at least {SHORTEST_PREFIX} characters")
    request = wire.FindIds(prefix=text.lower(), events=events, objects=objects)
    found = client.try_call(request, timeout_s=_TIMEOUT_S)
    if len(found.ids) > 1:
        more = " and others" if found.more else ""
        raise errors.PermanentError(f"{text!r} is ambiguous, it may be {', '.join(found.ids)}{more}")
    return found.ids[0] if found.ids else text


def plain(one: wire.DeliverySummary) -> dict[str, object]:
    """Return a delivery in its documented form (docs/cli.md)."""
    return {
        "sequence": one.sequence,
        "id": one.event_id,
        "type": one.type.value,
        "object": {
            "group": one.group,
            "kind": one.kind,
            "namespace": one.namespace,
            "name": one.name,
            "uid": one.uid,
        },
        "detected": formatting.precise(one.detected_us),
        "cause": one.cause,
        "source": one.source,
        "delivery": {
            "id": one.delivery,
            "endpoint": one.endpoint,
            "state": one.state.value,
            "generation": one.generation,
            "restores": one.restores,
            "attempts": one.attempts,
            "requests": one.requests,
            "nextAttempt": formatting.precise(one.next_attempt_us),
            "settled": formatting.precise(one.settled_us),
            "code": one.code,
            "error": one.error,
            "reason": one.reason,
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a table of deliveries: those of `wide`, or the endpoint only where there are several."""

    form: str
    several: bool

    @property
    def head(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return (*_HEAD, *self._of(_WIDE))

    def row(self, one: wire.DeliverySummary) -> tuple[str, ...]:
        """Return the cells of a delivery."""
        return (*_narrow(one), *self._of(_wide(one)))

    def table(self, deliveries: Iterable[wire.DeliverySummary]) -> Iterator[str]:
        """Render deliveries as a table."""
        return output.table(self.head, map(self.row, deliveries))

    def _of(self, wide: tuple[str, ...]) -> tuple[str, ...]:
        if self.form == "wide":
            return wide
        return wide[:1] if self.several else ()


def _narrow(one: wire.DeliverySummary) -> tuple[str, ...]:
    return (
        str(one.sequence),
        one.state.value,
        one.type.value,
        one.kind,
        object_name(one),
        formatting.instant(one.detected_us),
        str(one.requests),
        one.code or "-",
        one.event_id,
    )


def _wide(one: wire.DeliverySummary) -> tuple[str, ...]:
    return (
        one.endpoint,
        one.cause,
        one.source,
        f"{one.generation} ({one.restores} restored)" if one.restores else str(one.generation),
        formatting.instant(one.next_attempt_us) if one.next_attempt_us else "-",
        formatting.instant(one.settled_us) if one.settled_us else "-",
        one.uid,
        one.error or "-",
    )


def object_name(one: wire.DeliverySummary) -> str:
    """Return the object's name as kubectl prints it: `namespace/name`, or `name`."""
    return f"{one.namespace}/{one.name}" if one.namespace else one.name
