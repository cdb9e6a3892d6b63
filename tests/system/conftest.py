"""Fixtures of the system tests: a short directory, an API server in a separate process, a test endpoint."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import remote

ANNOTATION = "bakerapps.net.maas"
# The longest tests and the files that stay on one worker come first: begun last, one would run alone at the end.
LONGEST = (
    "test_soak.py",
    "test_freezes.py",
    "test_outage.py",
    "test_bench.py",
    "test_metrics.py",
    "test_cli_deliveries.py",
    "test_documents.py",
    "test_explain.py",
    "test_promises.py",
    "test_sentinel.py",
    "test_status.py",
)
MakeBeacon = Callable[..., testkit.Beacon]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, and leave the order of the others as it is."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONGEST)))


@pytest.fixture
def place() -> Iterator[Path]:
    """Create a directory whose path is short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name)


@pytest.fixture
def cluster(place: Path) -> Iterator[remote.Remote]:
    with remote.running(place, "--bookmark-interval", "1") as made:
        yield made


@pytest.fixture
def sink() -> Iterator[endpoint.SinkServer]:
    with endpoint.running() as made:
        yield made


@pytest.fixture
def make_beacon(place: Path, cluster: remote.Remote, sink: endpoint.SinkServer) -> MakeBeacon:
    """Return a factory of Beacons for ConfigMaps, not started yet; keywords override keys of the configuration."""

    def make(**changes: Any) -> testkit.Beacon:
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": ANNOTATION},
            "events": {"updated": True},
            "endpoint": {"url": sink.url},
        }
        return testkit.Beacon(place, config=config | changes, kubeconfig=cluster.kubeconfig)

    return make
