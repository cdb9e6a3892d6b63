"""What several tests of real processes and sockets are given."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.notifier import endpoints, running, stores


@pytest.fixture
def store() -> Iterator[stores.Store]:
    """Start a fake store on a real bus."""
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        served = running.serve(Path(directory))
        yield served
        served.stop()


@pytest.fixture
def endpoint() -> Iterator[endpoints.Endpoint]:
    """Start an endpoint that accepts everything until a test sets its behavior."""
    served = endpoints.Endpoint()
    yield served
    served.down()
