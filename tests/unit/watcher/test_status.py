"""A stream's state is published, logged once for each change, and counted when it repeats."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog

from beacon.cluster import items
from beacon.domain import rules
from beacon.runtime import metrics
from beacon.watcher import object_filter, policy, status
from beacon.watcher.policy import StreamState


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


class Reports:
    def __init__(self) -> None:
        self.all: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, component: str, state: Mapping[str, Any]) -> None:
        self.all.append((component, state))


def stream_status(reports: Reports, *, kind: str = "Deployment", namespace: str = "") -> status.StreamStatus:
    entry = rules.Entry(api_version="apps/v1", kind=kind, namespaces=(namespace,) if namespace else ())
    (scope,) = rules.scopes([entry], annotation="k", values=None)
    return status.StreamStatus(scope, reports)


def test_a_state_is_published_under_the_scopes_name_with_its_label_and_reason(said: list[Any]) -> None:
    reports = Reports()
    one = stream_status(reports, namespace="a")
    one.found("deployments")

    one.enter(StreamState.FORBIDDEN, "no right")

    assert reports.all == [
        (
            "scope.Deployment.apps@a",
            {"state": "forbidden", "reason": "no right", "scope": "deployments.apps@a", "listed": False},
        )
    ]


def test_a_state_is_logged_once_and_its_failures_are_counted(said: list[Any]) -> None:
    one = stream_status(Reports())
    for reason in ("refused", "timeout", "timeout"):
        one.failed(policy.FailureCause.ERROR)
        one.enter(StreamState.UNREACHABLE, reason)
    one.enter(StreamState.WATCHING)
    one.enter(StreamState.WATCHING)

    assert [(line["state"], line["log_level"], line["failures"]) for line in said] == [
        ("unreachable", "warning", 1),
        ("watching", "info", 2),
    ]


def test_a_scope_counts_as_listed_from_its_watch_to_its_next_list(said: list[Any]) -> None:
    reports = Reports()
    one = stream_status(reports)

    one.enter(StreamState.WATCHING)
    one.enter(StreamState.UNREACHABLE, "x")
    one.listing()
    one.enter(StreamState.LISTING)

    assert [state["listed"] for _, state in reports.all] == [True, True, False]


def bad(name: str) -> items.Unreadable:
    item = items.Item(uid=f"uid-{name}", namespace="ns", name=name, resource_version="7")
    return items.Unreadable(item=item, why="its labels can't be read")


def test_unreadable_objects_are_named_once_and_reported_for_as_long_as_they_are_so(said: list[Any]) -> None:
    reports = Reports()
    one = stream_status(reports, kind="Odd")
    one.enter(StreamState.WATCHING)
    said.clear()

    one.unreadable(bad("a"), bad("b"))
    one.unreadable(bad("a"))
    one.listing()
    one.unreadable(bad("a"))

    assert [(line["event"], line["name"], line["reason"]) for line in said] == [
        ("object unreadable", f"ns/{name}", "its labels can't be read") for name in "ab"
    ]
    assert [state["unreadable"] for _, state in reports.all[1:]] == [2, 2, 1]
    assert reports.all[-1][1]["unreadable_objects"] == ["ns/a: its labels can't be read"]
    assert metrics.OBJECTS_UNREADABLE.labels(scope="odd.apps")._value.get() == 1

    one.seen(items.WatchEvent(type="MODIFIED", item=bad("a").item), "")

    assert "unreadable" not in reports.all[-1][1]
    assert metrics.OBJECTS_UNREADABLE.labels(scope="odd.apps")._value.get() == 0


def test_any_number_of_unreadable_objects_needs_bounded_memory(said: list[Any]) -> None:
    reports = Reports()
    one = stream_status(reports)

    one.unreadable(*(bad(str(number)) for number in range(3000)))

    assert (len(said), reports.all[-1][1]["unreadable"]) == (1000, 1000)
    assert len(reports.all[-1][1]["unreadable_objects"]) == 5


def test_entries_of_discovery_that_cannot_be_read_are_logged_when_they_change(said: list[Any]) -> None:
    one = stream_status(Reports())

    for unreadable in ("", "1 entry of v1", "1 entry of v1", "2 entries of v1", "", "2 entries of v1"):
        one.found("deployments", unreadable=unreadable)

    assert [(line["event"], line["reason"]) for line in said] == [
        ("discovery entries unreadable", reason) for reason in ("1 entry of v1", "2 entries of v1", "2 entries of v1")
    ]


def test_its_metrics_move() -> None:
    one = stream_status(Reports(), kind="Moving")
    one.found("movings")
    scope = {"scope": "movings.apps"}

    one.connected()
    one.positioned()
    one.failed(policy.FailureCause.EXPIRED)
    one.received("BOOKMARK")
    one.mutated(object_filter.Mutation.ADDED)

    assert metrics.WATCH_CONNECTED.labels(**scope)._value.get() == 1
    assert metrics.WATCH_POSITION_TIMESTAMP.labels(**scope)._value.get() > 1e9
    assert metrics.WATCH_RESTARTS.labels(**scope, reason="expired")._value.get() == 1
    assert metrics.WATCH_LINES.labels(kind="Moving", type="BOOKMARK")._value.get() == 1
    assert metrics.ANNOTATION_MUTATIONS.labels(kind="Moving", mutation="added")._value.get() == 1
    one.disconnected()
    assert metrics.WATCH_CONNECTED.labels(**scope)._value.get() == 0
