"""How `explain` tells a story: its documented form, why nothing was sent, and the timeline for people. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beacon import wire
from beacon.cli import formatting
from beacon.domain import model


def plain(story: wire.Explanation, events: Sequence[wire.EmittedEvent], why: Sequence[str]) -> dict[str, Any]:
    """Give the documented form (docs/cli.md); `events` are those of all pages, the latest first."""
    return {
        "kind": story.kind,
        "namespace": story.namespace,
        "name": story.name,
        "why": list(why),
        "objects": [_object(one) for one in story.objects],
        "events": [_event(one) for one in reversed(events)],
        "more": story.more,
    }


def why(story: wire.Explanation, events: Sequence[wire.EmittedEvent], down: Mapping[str, str]) -> list[str]:
    """Say in sentences what keeps something from being told; `down` has since when an endpoint counts as down."""
    here = [one for one in story.objects if one.state is not model.ObjectState.GONE]
    said = [sentence for one in here if (sentence := _of_object(one))]
    if not story.objects and not events:
        said.append(_of_nothing(story))
    elif here and not events:
        said.append("Nothing told of it is left: events are removed some time after they were delivered (retention).")
    waiting = {one.endpoint for one in events if one.state in (model.DeliveryState.READY, model.DeliveryState.QUEUED)}
    said += [
        f"Endpoint {name} counts as down since {down[name]} (breaker open): only probes are sent until it answers."
        for name in sorted(waiting & set(down))
    ]
    said += [sentence for one in reversed(events) if (sentence := _of_event(one, down))]
    return said


def lines(seen: Mapping[str, Any]) -> Iterator[str]:
    """Tell what `plain` gave, the earliest first."""
    yield (
        f"{seen['kind']} {seen['namespace']}/{seen['name']}" if seen["namespace"] else f"{seen['kind']} {seen['name']}"
    )
    yield from (f"  {sentence}" for sentence in seen["why"])
    for one in seen["objects"]:
        yield f"\nobject {one['uid']}"
        yield f"  {one['state']} since {one['changed']}, at resourceVersion {one['resourceVersion']}"
        yield f"  value of the annotation: {one['value']!r}, judged by {_rule(one)}"
    if seen["more"]:
        yield "\n(there are earlier events: raise --limit)"
    for one in seen["events"]:
        yield f"\n{one['detected']}  {one['type']} ({one['cause']}, seen by {one['source']})"
        yield f"  event {one['id']}, sequence {one['sequence']}, resourceVersion {one['resourceVersion'] or '?'}"
        yield from (f"  {_attempt(made)}" for made in one["attempts"])
        yield f"  {_stands(one['delivery'])}"


def _of_nothing(story: wire.Explanation) -> str:
    where = f" in namespace {story.namespace}" if story.namespace else ""
    if not story.covering:
        return f"No scope covers {story.kind}{where}: the configuration watches {', '.join(story.kinds)}."
    open_ = [one for one in story.covering if not one.excluded]
    if not open_:
        return f"The configuration excludes namespace {story.namespace} for {story.kind}."
    if not all(one.listed for one in open_):
        return f"{story.kind}{where} has not been listed yet, so nothing is known of it."
    one = open_[0]
    values = f" with a value among {', '.join(one.values)}" if one.values else ""
    labels = ", its labels do not match the selector" if one.selects else ""
    return (
        f"{story.kind}{where} is watched, and no such object was ever accepted: it is not there, it is not annotated"
        f" with {one.annotation}{values}{labels}, or it is gone for longer than the ledger keeps (retention)."
    )


def _of_object(one: wire.ExplainedObject) -> str:
    since = formatting.precise(one.changed_us)
    if one.state is model.ObjectState.UNMANAGED:
        return f"Unmanaged since {since}: the configuration no longer accepts it, and nothing is told of it."
    if one.state is model.ObjectState.RELEASED:
        return f"Not accepted since {since}: its annotation or labels no longer fit, which was told as deleted."
    return ""


def _of_event(one: wire.EmittedEvent, down: Mapping[str, str]) -> str:
    because = f" ({one.reason})" if one.reason else ""
    if one.state is model.DeliveryState.QUEUED:
        return f"Event {one.id} waits behind {one.behind or 'an earlier one of the object'}."
    if one.state is model.DeliveryState.FAILED:
        last = one.attempts[-1] if one.attempts else None
        answer = f": {last.code} {last.error}".rstrip() if last else ""
        return f"Event {one.id} was given up after {one.requests} requests{answer}{because}."
    if one.state is model.DeliveryState.DISCARDED:
        return f"Event {one.id} was discarded by an operator{because}."
    if one.deaths:
        due = formatting.precise(one.next_attempt_us)
        return (
            f"Event {one.id} was under way at the notifier's last {one.deaths} deaths: sent last and alone from {due}."
        )
    if one.state is model.DeliveryState.READY and one.requests and one.endpoint not in down:
        return f"Event {one.id} was not taken yet and is sent again at {formatting.precise(one.next_attempt_us)}."
    return ""


def _rule(one: Mapping[str, Any]) -> str:
    return "the configured rule" if one["current"] else "a rule that is no longer configured"


def _attempt(made: Mapping[str, Any]) -> str:
    again = f" of redelivery {made['generation']}" if made["generation"] else ""
    said = f"{made['code']} {made['error']}".strip()
    free = "" if made["counted"] else " (does not count)"
    return f"{made['started']}  request {made['number']}{again}: {said} after {made['durationMs']} ms{free}"


def _stands(delivery: Mapping[str, Any]) -> str:
    if delivery["settled"]:
        return f"{delivery['settled']}  {delivery['state']} at endpoint {delivery['endpoint']}"
    due = f", due at {delivery['nextAttempt']}" if delivery["nextAttempt"] else ""
    behind = f", behind event {delivery['behind']}" if delivery["behind"] else ""
    return f"{delivery['state']} for endpoint {delivery['endpoint']}{due}{behind}"


def _object(one: wire.ExplainedObject) -> dict[str, Any]:
    return {
        "uid": one.uid,
        "group": one.group,
        "state": one.state.value,
        "changed": formatting.precise(one.changed_us),
        "resourceVersion": one.resource_version,
        "value": one.value,
        "current": one.current,
    }


def _event(one: wire.EmittedEvent) -> dict[str, Any]:
    return {
        "sequence": one.sequence,
        "id": one.id,
        "uid": one.uid,
        "group": one.group,
        "type": one.type,
        "cause": one.cause,
        "source": one.source,
        "resourceVersion": one.resource_version,
        "detected": formatting.precise(one.detected_us),
        "delivery": {
            "endpoint": one.endpoint,
            "state": one.state.value,
            "generation": one.generation,
            "attempts": one.counted,
            "requests": one.requests,
            "nextAttempt": formatting.precise(one.next_attempt_us),
            "settled": formatting.precise(one.settled_us),
            "behind": one.behind,
            "reason": one.reason,
            "notifierDeaths": one.deaths,
        },
        "attempts": [
            {
                "generation": made.generation,
                "number": made.number,
                "started": formatting.precise(made.started_us),
                "durationMs": round(made.duration_us / 1000, 1),
                "code": made.code,
                "status": made.status,
                "error": made.error,
                "counted": made.counted,
            }
            for made in one.attempts
        ],
    }
