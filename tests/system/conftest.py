"""Fixtures of the system tests: a short directory, an API server in a separate process, a test endpoint."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import remote

ANNOTATION = "bakerapps.net.maas"
MakeBeacon = Callable[..., testkit.Beacon]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for unix sockets."""
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
