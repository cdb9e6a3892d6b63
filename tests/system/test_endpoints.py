"""Several endpoints with different selections, in one Beacon whose configuration changes between its starts."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import remote
from tests.system.conftest import ANNOTATION

MERGE = "application/merge-patch+json"
Event = tuple[str, str, str, str]  # namespace, name, type, value


class World:
    """A cluster, a Beacon, and a sink for each endpoint that is configured at any time."""

    def __init__(self, place: Path, cluster: remote.Remote, sinks: dict[str, endpoint.SinkServer]) -> None:
        self.place, self.cluster, self.sinks = place, cluster, sinks
        for namespace in ("team-a", "other"):
            cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

    def beacon(self, **endpoints: dict[str, Any]) -> testkit.Beacon:
        """Return a Beacon with these endpoints, not started yet."""
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": ANNOTATION},
            "events": {"updated": True},
            "endpoints": [{"name": name, "url": self.sinks[name].url, **one} for name, one in endpoints.items()],
        }
        return testkit.Beacon(self.place, config=config, kubeconfig=self.cluster.kubeconfig)

    def create(self, namespace: str, name: str, value: str) -> None:
        body = {"metadata": {"name": name, "annotations": {ANNOTATION: value}}}
        self.cluster.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)

    def annotate(self, namespace: str, name: str, value: str) -> None:
        patch = {"metadata": {"annotations": {ANNOTATION: value}}}
        path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        self.cluster.request("PATCH", path, patch, content_type=MERGE)

    def delete(self, namespace: str, name: str) -> None:
        self.cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/{name}")

    def wait_for(self, name: str, *expected: Event) -> None:
        """Wait until an endpoint has got exactly these events so far, in any order of the objects."""
        stats = self.sinks[name].wait_for(lambda stats: stats.distinct >= len(expected), timeout=60)
        got = [attempt.event for attempt in self.sinks[name].events() if attempt.event is not None]
        found = [(one.namespace, one.name, one.type.rpartition(".")[2], one.value) for one in got]
        assert sorted(found) == sorted(expected)
        assert (stats.duplicates, stats.order_violations, stats.chain_gaps, stats.refused) == (0, 0, 0, 0)


@pytest.fixture
def world(place: Path, cluster: remote.Remote) -> Iterator[World]:
    with ExitStack() as stack:
        sinks = {name: stack.enter_context(endpoint.running()) for name in ("all", "team", "ends", "late")}
        yield World(place, cluster, sinks)


def test_endpoints_get_what_they_select_also_when_they_are_added_removed_and_put_back(world: World) -> None:
    team = {"select": {"namespaces": ["team-*"]}, "exclude": {"names": ["tmp-*"]}}
    ends = {"select": {"types": ["created", "deleted"]}}
    late = {"select": {"kinds": ["ConfigMap"], "names": ["a", "c"]}}

    with world.beacon(all={}, team=team, ends=ends) as beacon:
        ready = beacon.wait_ready()
        assert set(ready["checks"]["endpoint"]["endpoints"]) == {"all", "team", "ends"}
        for namespace, name in (("team-a", "a"), ("team-a", "tmp-1"), ("other", "b")):
            world.create(namespace, name, "1")
        world.annotate("team-a", "a", "2")
        world.annotate("other", "b", "2")
        world.delete("other", "b")
        first: list[Event] = [
            ("team-a", "a", "created", "1"),
            ("team-a", "a", "updated", "2"),
            ("team-a", "tmp-1", "created", "1"),
            ("other", "b", "created", "1"),
            ("other", "b", "updated", "2"),
            ("other", "b", "deleted", "2"),
        ]
        in_team = first[:2]
        only_ends = [event for event in first if event[2] != "updated"]
        world.wait_for("all", *first)
        world.wait_for("team", *in_team)
        world.wait_for("ends", *only_ends)
        assert {
            one: testkit.sample(beacon.metrics(), "beacon_endpoint_up", endpoint=one) for one in ("all", "team")
        } == {
            "all": 1.0,
            "team": 1.0,
        }
        assert beacon.stop() == 0

    # `late` is added and catches up; `ends` is removed and gets nothing.
    with world.beacon(late=late, team=team, all={}) as beacon:
        beacon.wait_ready()
        world.wait_for("late", ("team-a", "a", "created", "2"))
        world.create("other", "c", "1")
        world.delete("team-a", "a")
        second: list[Event] = [("other", "c", "created", "1"), ("team-a", "a", "deleted", "2")]
        world.wait_for("all", *first, *second)
        world.wait_for("team", *in_team, second[1])
        world.wait_for("late", ("team-a", "a", "created", "2"), *second)
        world.wait_for("ends", *only_ends)
        assert beacon.stop() == 0

    # `ends` is put back and gets what changed meanwhile; `team` selects more and gets just what is new.
    with world.beacon(all={}, team={"select": {"namespaces": ["team-*", "other"]}}, ends=ends, late=late) as beacon:
        beacon.wait_ready()
        world.wait_for("ends", *only_ends, *second)
        world.wait_for("team", *in_team, second[1], ("team-a", "tmp-1", "created", "1"), second[0])
        world.wait_for("all", *first, *second)
        world.wait_for("late", ("team-a", "a", "created", "2"), *second)
        assert beacon.stop() == 0


def test_an_endpoint_that_catches_up_goes_on_after_a_kill_and_delays_no_other(world: World) -> None:
    world.sinks["late"].set(mode="hang")
    with world.beacon(all={}) as beacon:
        beacon.wait_ready()
        for number in range(300):
            world.create("other", f"o{number}", "1")
        expected: list[Event] = [("other", f"o{number}", "created", "1") for number in range(300)]
        world.wait_for("all", *expected)
        assert beacon.stop() == 0

    with world.beacon(all={}, late={"timeout": "1s", "retry": {"maxBackoff": "1s"}}) as beacon:
        beacon.wait_ready()
        beacon.kill("store")
        beacon.kill("notifier")
        beacon.wait_ready()
        world.create("team-a", "live", "1")
        live: Event = ("team-a", "live", "created", "1")
        world.wait_for("all", *expected, live)
        world.sinks["late"].set(mode="success")
        world.sinks["late"].wait_for(lambda stats: stats.distinct >= 301, timeout=120)
        assert beacon.stop() == 0
    got = {(one.namespace, one.name) for attempt in world.sinks["late"].events() if (one := attempt.event) is not None}
    assert got == {(namespace, name) for namespace, name, _, _ in (*expected, live)}
