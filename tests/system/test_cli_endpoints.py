"""Commands for one of several endpoints beside a running Beacon: pause, test events, status and probes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.dev import endpoint, testkit
from beacon.dev.api_server import remote
from tests.system.conftest import ANNOTATION

NAMES = ("audit", "billing")


class World:
    """A cluster, two sinks, and a running Beacon."""

    def __init__(self, cluster: remote.Remote, sinks: dict[str, endpoint.SinkServer], beacon: testkit.Beacon) -> None:
        self.cluster, self.sinks, self.beacon = cluster, sinks, beacon

    def create(self, name: str) -> None:
        body = {"metadata": {"name": name, "annotations": {ANNOTATION: "1"}}}
        self.cluster.request("POST", "/api/v1/namespaces/default/configmaps", body)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "beacon.cli", *arguments]
        done = subprocess.run(
            command, env=self.beacon.environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert "Traceback" not in done.stderr
        return done

    def wait_for(self, name: str, count: int) -> None:
        self.sinks[name].wait_for(lambda stats: stats.distinct >= count, timeout=60)

    def tests_of(self, name: str) -> int:
        """Return how many test events an endpoint has got."""
        return sum(json.loads(one.request.body).get("test") is True for one in self.sinks[name].events())

    def status(self) -> tuple[int, dict[str, Any]]:
        done = self.run("status", "-o", "json")
        return done.returncode, dict(json.loads(done.stdout))


@pytest.fixture
def world(place: Path, cluster: remote.Remote) -> Iterator[World]:
    with endpoint.running() as audit, endpoint.running() as billing:
        sinks = {"audit": audit, "billing": billing}
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": ANNOTATION},
            "endpoints": [{"name": name, "url": one.url} for name, one in sinks.items()],
        }
        with testkit.Beacon(place, config=config, kubeconfig=cluster.kubeconfig) as beacon:
            beacon.wait_ready()
            yield World(cluster, sinks, beacon)


def test_a_paused_endpoint_waits_alone_is_shown_everywhere_and_still_gets_test_events(world: World) -> None:
    assert world.run("pause", "--endpoint", "billing", "--reason", "upgrade").returncode == errors.EXIT_OK
    world.create("a")
    world.create("b")
    world.wait_for("audit", 2)

    sent = world.run("test-event", "--endpoint", "billing", "-o", "json")
    code, shown = world.status()
    ready = world.beacon.wait_ready()

    assert (sent.returncode, json.loads(sent.stdout)["endpoint"]) == (errors.EXIT_OK, "billing")
    assert [(name, world.tests_of(name)) for name in NAMES] == [("audit", 0), ("billing", 1)]
    assert world.sinks["billing"].stats().requests == 1
    states = {one["endpoint"]: (one["state"], one["pending"]) for one in shown["endpoints"]}
    assert (code, states["billing"]) == (errors.EXIT_FAILURE, ("paused", 2))
    (sentence,) = [one for one in shown["wrong"] if one.startswith("endpoint")]
    assert sentence.startswith("endpoint billing: paused since ")
    assert sentence.endswith(": upgrade), 2 pending; beacon resume --endpoint billing ends it")
    assert ready["checks"]["endpoint"]["endpoints"]["billing"]["state"] == "paused"
    assert not ready["checks"]["endpoint"]["required"]

    assert world.run("resume", "--endpoint", "billing").returncode == errors.EXIT_OK
    world.wait_for("billing", 3)
    testkit.until(lambda: world.status()[1]["endpoints"][1]["pending"] == 0, "the settlements", timeout=30)


def test_an_endpoint_that_is_down_gets_a_test_event_at_once_and_status_shows_it_alone(world: World) -> None:
    world.sinks["billing"].stop()
    for number in range(6):
        world.create(f"o{number}")
    world.wait_for("audit", 6)
    testkit.until(
        lambda: (
            {one["endpoint"]: one["state"] for one in world.status()[1]["endpoints"]}
            == {"audit": "up", "billing": "down"}
        ),
        "billing to be down",
        timeout=60,
    )

    refused = world.run("test-event", "--endpoint", "billing")
    accepted = world.run("test-event", "--endpoint", "audit")
    only = world.run("status", "--endpoint", "audit")
    explained = world.run("explain", "ConfigMap", "default/o0").stdout
    world.sinks["billing"].start()

    assert refused.returncode == errors.EXIT_FAILURE
    assert refused.stdout.startswith("Rejected by billing: network after ")
    assert (accepted.returncode, accepted.stdout.partition(" after")[0]) == (errors.EXIT_OK, "Accepted by audit: 200")
    assert "billing" not in only.stdout
    assert "Endpoint billing has been down since" in explained
    world.wait_for("billing", 6)
