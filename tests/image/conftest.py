"""The images, built once, and the environment of a Beacon in a container."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon.dev import endpoint
from beacon.dev.api_server import remote
from tests.gate import needs
from tests.image import containers
from tests.image import engine as engines


@pytest.fixture(scope="session")
def bare_engine() -> Iterator[engines.Engine]:
    """Podman with only the base image."""
    needs.require("containers")
    with engines.running() as made:
        try:
            made.import_base()
        except engines.ImpossibleError as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture(scope="session")
def engine(bare_engine: engines.Engine) -> engines.Engine:
    """Podman with Beacon's image."""
    bare_engine.build(containers.IMAGE)
    return bare_engine


@pytest.fixture
def place() -> Iterator[Path]:
    """Create a directory that every user may traverse, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="b") as name:
        Path(name).chmod(0o755)
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
def beacon_at(engine: engines.Engine, place: Path, cluster: remote.Remote) -> Iterator[containers.MakeBeacon]:
    """Return a factory of Beacons that send to a URL, not started yet; no container outlives the test."""
    yield lambda url: containers.Beacon(engine, place, cluster, url)
    engine.clear_containers()


@pytest.fixture
def beacon(beacon_at: containers.MakeBeacon, sink: endpoint.SinkServer) -> containers.Beacon:
    """Start a Beacon that sends to `sink`."""
    return beacon_at(sink.url)
