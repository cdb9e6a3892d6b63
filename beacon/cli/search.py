"""Reads the selected deliveries page by page and renders them."""

from collections.abc import Iterator

from beacon import bus, wire
from beacon.cli import formatting, output

_TIMEOUT_S = 5.0
_HEAD = ("SEQUENCE", "STATE", "TYPE", "KIND", "OBJECT", "DETECTED", "REQUESTS", "ANSWER", "EVENT ID")


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
            "attempts": one.attempts,
            "requests": one.requests,
            "nextAttempt": formatting.precise(one.next_attempt_us),
            "settled": formatting.precise(one.settled_us),
            "code": one.code,
            "error": one.error,
            "reason": one.reason,
        },
    }


def lines(deliveries: list[wire.DeliverySummary]) -> Iterator[str]:
    """Render deliveries as a table."""
    return output.table(_HEAD, map(_row, deliveries))


def object_name(one: wire.DeliverySummary) -> str:
    """Return the object's name as kubectl prints it: `namespace/name`, or `name`."""
    return f"{one.namespace}/{one.name}" if one.namespace else one.name


def _row(one: wire.DeliverySummary) -> tuple[str, ...]:
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
