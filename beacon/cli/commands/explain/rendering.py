"""The output of `explain`: its documented form, the reasons why nothing was sent, and the timeline. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beacon import wire
from beacon.cli import formatting
from beacon.cli.commands.explain import endpoints
from beacon.domain import model


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An endpoint is `down` or `faulty`."""

    state: str
    since: str


def plain(
    story: wire.Explanation,
    events: Sequence[wire.EmittedEvent],
    why: Sequence[str],
    found: Sequence[endpoints.EndpointStory] = (),
) -> dict[str, object]:
    """Return the documented form (docs/cli.md); `events` are those of all pages, the latest first."""
    return {
        "kind": story.kind,
        "namespace": story.namespace,
        "name": story.name,
        "why": list(why),
        "objects": [_object(one) for one in story.objects],
        "endpoints": [endpoints.plain(one) for one in found],
        "events": [_event(one) for one in _oldest_first(events)],
        "more": story.more,
    }


def why(
    story: wire.Explanation,
    events: Sequence[wire.EmittedEvent],
    troubled: Mapping[str, Trouble],
    *,
    watched: Sequence[str] = (),
) -> list[str]:
    """Return sentences about what prevents or delays events.

    `troubled` are the endpoints that are down or faulty; `watched` are the namespaces in which the
    configuration watches the kind.
    """
    present = [one for one in story.objects if one.state is not model.ObjectState.GONE]
    reasons = [sentence for one in present if (sentence := _of_object(one))]
    if not story.objects and not events:
        reasons.append(_of_unknown(story, watched))
    elif present and not events:
        reasons.append("Its events are no longer stored: delivered events are removed after their retention period.")
    pending = {one.endpoint for one in events if one.state in (model.DeliveryState.READY, model.DeliveryState.QUEUED)}
    reasons += [_of_trouble(name, troubled[name]) for name in sorted(pending & set(troubled))]
    several = len(story.endpoints) > 1
    idle = {*troubled, *(one.name for one in story.endpoints if one.parked_us or one.paused_us)}
    return reasons + [sentence for one in _oldest_first(events) if (sentence := _of_event(one, idle, several=several))]


def _of_trouble(name: str, one: Trouble) -> str:
    if one.state == "faulty":
        return (
            f"Endpoint {name} has been faulty since {one.since}: after an unexpected error of Beacon (see the log of"
            " the notifier) it is tried again by itself."
        )
    return f"Endpoint {name} has been down since {one.since} (breaker open): only probes are sent until it answers."


def _oldest_first(events: Sequence[wire.EmittedEvent]) -> list[wire.EmittedEvent]:
    """Return the events in the order of their sequences, the deliveries of one in the order of their endpoints."""
    return sorted(events, key=lambda one: (one.sequence, one.endpoint))


def lines(values: Mapping[str, Any]) -> Iterator[str]:
    """Render the result of `plain`, the earliest event first."""
    name = f"{values['namespace']}/{values['name']}" if values["namespace"] else values["name"]
    yield f"{values['kind']} {name}"
    yield from (f"  {sentence}" for sentence in values["why"])
    for one in values["objects"]:
        yield f"\nobject {one['uid']}"
        yield f"  {one['state']} since {one['changed']}, at resourceVersion {one['resourceVersion']}"
        yield f"  value of the annotation: {one['value']!r}, evaluated with {_rule(one)}"
    if values["more"]:
        yield "\n(earlier events are not shown: raise --limit)"
    several, shown = len(values["endpoints"]) > 1, 0
    if several:
        yield "\nendpoints"
        yield from endpoints.lines(values["endpoints"])
    for one in values["events"]:
        if one["sequence"] != shown:
            shown = one["sequence"]
            yield f"\n{one['detected']}  {one['type']} (cause {one['cause']}, source {one['source']})"
            yield f"  event {one['id']}, sequence {shown}, resourceVersion {one['resourceVersion'] or '?'}"
        if one["delivery"] is None:
            yield "  no endpoint gets it"
            continue
        yield from _steps(one, f" to {one['delivery']['endpoint']}" if several else "")
        yield f"  {_delivery(one['delivery'])}"


def _steps(event: Mapping[str, Any], to: str) -> Iterator[str]:
    """Yield the requests and actions of a delivery in the order of time."""
    restored = {each["generation"] for each in event["actions"] if each["action"] == model.OperatorAction.RESTORED}
    steps = [(attempt["started"], _attempt(attempt, to, restored)) for attempt in event["attempts"]]
    steps += [(action["at"], _action(action)) for action in event["actions"]]
    yield from (f"  {line}" for _, line in sorted(steps, key=lambda step: str(step[0])))


def _of_unknown(story: wire.Explanation, namespaces: Sequence[str]) -> str:
    where = f" in namespace {story.namespace}" if story.namespace else ""
    if not story.covering and namespaces:
        only = ", ".join(sorted(namespaces))
        return f"The configuration watches {story.kind} only in {only}, not{where or ' without a namespace'}."
    if not story.covering:
        return f"No scope covers {story.kind}{where}: the configuration watches {', '.join(story.kinds)}."
    watched = [one for one in story.covering if not one.excluded]
    if not watched:
        return f"The configuration excludes namespace {story.namespace} for {story.kind}."
    if unlisted := [one.label for one in watched if not one.listed]:
        return f"{', '.join(unlisted)} has not been listed yet, so its objects are unknown."
    one = watched[0]
    values = f" with one of the values {', '.join(one.values)}" if one.values else ""
    labels = ", its labels do not match the selector" if one.selects else ""
    return (
        f"{one.label} is watched, but no such object was accepted: it does not exist, it is not annotated"
        f" with {one.annotation}{values}{labels}, or it was deleted longer ago than the ledger keeps (retention)."
    )


def _of_object(one: wire.ExplainedObject) -> str:
    since = formatting.precise(one.changed_us)
    if one.state is model.ObjectState.UNMANAGED:
        return f"Unmanaged since {since}: the configuration no longer accepts it, and no events are emitted for it."
    if one.state is model.ObjectState.RELEASED:
        return f"Not accepted since {since}: its annotation or labels no longer match; a deleted event was emitted."
    return ""


def _of_event(one: wire.EmittedEvent, idle: Collection[str], *, several: bool) -> str:
    """Describe an event that is not delivered; `idle` are the endpoints to which nothing is sent at its due time."""
    event = f"Event {one.id} to {one.endpoint}" if several else f"Event {one.id}"
    because = f" ({one.reason})" if one.reason else ""
    if one.state is model.DeliveryState.QUEUED:
        return f"{event} waits for {one.behind or 'an earlier event of the object'}."
    if one.state is model.DeliveryState.FAILED:
        last = one.attempts[-1] if one.attempts else None
        response = f": {last.code} {last.error}".rstrip() if last else ""
        return f"{event} failed after {one.requests} requests{response}{because}."
    if one.state is model.DeliveryState.DISCARDED:
        by = " by an operator" if any(each.action is model.OperatorAction.DISCARDED for each in one.actions) else ""
        return f"{event} was discarded{by}{because}."
    if one.deaths:
        due = formatting.precise(one.next_attempt_us)
        return (
            f"{event} was being sent when the notifier terminated the last {one.deaths} times: it is sent alone,"
            f" after all others, from {due}."
        )
    if one.state is model.DeliveryState.READY and one.requests and one.endpoint not in idle:
        due = formatting.precise(one.next_attempt_us)
        return f"{event} has not been accepted yet; the next attempt is due at {due}."
    return ""


def _rule(one: Mapping[str, object]) -> str:
    return "the configured rule" if one["current"] else "a rule that is no longer configured"


def _attempt(attempt: Mapping[str, object], to: str, restored: Collection[object]) -> str:
    number = attempt["generation"]
    again = f" of {'restore' if number in restored else 'redelivery'} {number}" if number else ""
    response = f"{attempt['code']} {attempt['error']}".strip()
    free = "" if attempt["counted"] else " (does not count)"
    request = f"request {attempt['number']}{to}{again}"
    return f"{attempt['started']}  {request}: {response} after {attempt['durationMs']} ms{free}"


def _action(action: Mapping[str, object]) -> str:
    reason = f": {action['reason']}" if action["reason"] else ""
    if action["action"] == model.OperatorAction.RESTORED:
        return f"{action['at']}  restored: its refusal spoke against the endpoint, so it is sent again{reason}"
    return f"{action['at']}  {action['action']} by {action['actor'] or 'an unknown actor'}{reason}"


def _delivery(delivery: Mapping[str, object]) -> str:
    if delivery["settled"]:
        return f"{delivery['settled']}  {delivery['state']}, endpoint {delivery['endpoint']}"
    due = f", due at {delivery['nextAttempt']}" if delivery["nextAttempt"] else ""
    behind = f", after event {delivery['behind']}" if delivery["behind"] else ""
    return f"{delivery['state']}, endpoint {delivery['endpoint']}{due}{behind}"


def _object(one: wire.ExplainedObject) -> dict[str, object]:
    return {
        "uid": one.uid,
        "group": one.group,
        "state": one.state.value,
        "changed": formatting.precise(one.changed_us),
        "resourceVersion": one.resource_version,
        "value": one.value,
        "current": one.current,
    }


def _event(one: wire.EmittedEvent) -> dict[str, object]:
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
        "onlyFor": one.alone,
        "delivery": None
        if one.state is None
        else {
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
                "generation": attempt.generation,
                "number": attempt.number,
                "started": formatting.precise(attempt.started_us),
                "durationMs": round(attempt.duration_us / 1000, 1),
                "code": attempt.code,
                "status": attempt.status,
                "error": attempt.error,
                "counted": attempt.counted,
            }
            for attempt in one.attempts
        ],
        "actions": [
            {
                "generation": action.generation,
                "at": formatting.precise(action.at_us),
                "action": action.action.value,
                "actor": action.actor,
                "reason": action.reason,
            }
            for action in one.actions
        ],
    }
