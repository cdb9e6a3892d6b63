"""Fixtures of the proxy tests: a receiver, each of the three proxies in front of it, and the sender."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.endpoints import proxies
from tests.unit.notifier import endpoints, running, stores

EACH = [
    pytest.param(proxies.NGINX, marks=pytest.mark.needs("nginx"), id="nginx"),
    pytest.param(proxies.HAPROXY, marks=pytest.mark.needs("haproxy"), id="haproxy"),
    pytest.param(proxies.ENVOY, marks=pytest.mark.needs("envoy"), id="envoy"),
]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[endpoints.Endpoint]:
    served = endpoints.Endpoint()
    yield served
    served.down()


@pytest.fixture
def receiver(shared_receiver: endpoints.Endpoint) -> endpoints.Endpoint:
    """Return the receiver behind the proxy, which accepts everything and has received nothing."""
    shared_receiver.behave = lambda _request, _line: endpoints.Reply()
    shared_receiver.received.clear()
    return shared_receiver


@pytest.fixture(scope="module", params=EACH)
def shared_proxy(
    request: pytest.FixtureRequest, shared_receiver: endpoints.Endpoint, authority: trustme.CA
) -> Iterator[proxies.Proxy]:
    with proxies.running(request.param, shared_receiver.port, authority) as made:
        yield made


@pytest.fixture
def proxy(shared_proxy: proxies.Proxy, receiver: endpoints.Endpoint) -> proxies.Proxy:
    """Return one of the three proxies, in front of the receiver."""
    return shared_proxy


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def store() -> Iterator[stores.Store]:
    """Start a fake store on a real bus."""
    with tempfile.TemporaryDirectory(prefix="bn") as directory:
        served = running.serve(Path(directory))
        yield served
        served.stop()
