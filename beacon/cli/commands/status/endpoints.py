"""The state of each endpoint in a snapshot of `beacon status`: why it is not served, and what to do. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from beacon.cli import formatting, parked

_PENDING = ("ready", "waiting", "queued", "in_flight")

Values = Mapping[str, Any]


def states(snapshot: Values) -> Iterator[dict[str, Any]]:
    """Yield each endpoint of the ledger with its state; `advice` is "" where nothing needs to be done."""
    reports = {part.get("endpoint", ""): part for part in snapshot["components"] if part["component"] == "endpoint"}
    for one in snapshot["deliveries"]:
        report = reports.pop(one["endpoint"], {})
        yield {
            "endpoint": one["endpoint"],
            "pending": sum(one[state] for state in _PENDING),
            "failed": one["failed"],
            "catching_up": one["catching_up"],
            **_state(one, report),
            **_token(report),
        }
    for name, report in reports.items():  # the store does not answer
        known = {"endpoint": name, "pending": None, "failed": None, "catching_up": None}
        yield known | _reported(name, report) | _token(report)


def _token(report: Values) -> dict[str, str]:
    """Return when the token of an endpoint with OAuth2 expires."""
    return {"token_expires": report["token_expires"]} if report.get("token_expires") else {}


def sentence(one: Values) -> str:
    """Describe an endpoint that needs attention in one sentence; "" if it needs none."""
    if not one["advice"]:
        return ""
    why = f" ({one['why']})" if one["why"] else ""
    since = f" since {one['since']}" if one["since"] else ""
    return f"endpoint {one['endpoint']}: {one['state']}{since}{why}{_waiting(one)}; {one['advice']}"


def _waiting(one: Values) -> str:
    if one["pending"] is None:
        return ""
    failed = f" and {one['failed']} failed" if one["failed"] else ""
    return f", {one['pending']} pending{failed}"


def _state(one: Values, report: Values) -> dict[str, str]:
    name = one["endpoint"]
    if one["removed_us"]:
        left = any(one[state] for state in (*_PENDING, "failed"))
        advice = f"put it back into the configuration, or end its deliveries with beacon discard --endpoint {name}"
        since = formatting.precise(one["removed_us"])
        why = "it is not in the configuration"
        return {"state": "removed", "since": since, "why": why, "advice": advice if left else ""}
    if one["paused_us"]:
        by = f"by {one['paused_by']}" if one["paused_by"] else "by an operator"
        why = f"{by}: {one['paused_reason']}" if one["paused_reason"] else by
        since = formatting.precise(one["paused_us"])
        return {"state": "paused", "since": since, "why": why, "advice": f"beacon resume --endpoint {name} ends it"}
    if one["parked_us"]:
        cause = one["parked_cause"]
        advice = parked.advice(name, cause)
        return {"state": "parked", "since": formatting.precise(one["parked_us"]), "why": cause, "advice": advice}
    return _reported(name, report)


def _reported(name: str, report: Values) -> dict[str, str]:
    """Return the state that the notifier reports."""
    state = report.get("state", "unknown")
    why, advice = "", ""
    if state == "down":
        why = "breaker open" if report.get("breaker") == "open" else "it does not answer"
        advice = f"it is tried until it answers; see beacon test-event --endpoint {name}"
    if state == "parked":
        why = report.get("cause", "")
        advice = parked.advice(name, why)
    if state == "faulty":
        why = "an unexpected error of Beacon"
        advice = "it is tried again by itself; see the log of the notifier"
    return {"state": state, "since": report.get("since", ""), "why": report.get("reason", "") or why, "advice": advice}
