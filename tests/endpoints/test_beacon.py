"""All of Beacon with a chain of all three proxies, each of which is restarted."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import server
from tests.endpoints import proxies
from tests.system import load

pytestmark = pytest.mark.needs("nginx", "haproxy", "envoy")


@contextlib.contextmanager
def chain(upstream: int, authority: trustme.CA) -> Iterator[list[proxies.Proxy]]:
    """Run a chain of all three in front of a receiver's port; Beacon sends to the last one."""
    with contextlib.ExitStack() as stack:
        made: list[proxies.Proxy] = []
        for kind in proxies.ALL:
            made.append(stack.enter_context(proxies.running(kind, upstream, authority)))
            upstream = made[-1].ports["plain"]
        yield made


def until_more(sink: endpoint.SinkServer) -> None:
    """Wait until more events have arrived."""
    seen = sink.stats().distinct
    sink.wait_for(lambda stats: stats.distinct > seen + 20, timeout=60)


def test_restarts_of_all_proxies_lose_no_event_and_keep_the_order(authority: trustme.CA) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        server.running(bookmark_interval_s=1.0) as cluster,
        endpoint.running() as sink,
        chain(int(sink.url.rstrip("/").rpartition(":")[2]), authority) as on_the_way,
    ):
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": load.ANNOTATION},
            "events": {"updated": True},
            "endpoint": {"url": on_the_way[-1].url()},
        }
        kubeconfig = cluster.kubeconfig(Path(name) / "kubeconfig")
        with testkit.Beacon(Path(name), config=config, kubeconfig=kubeconfig) as beacon:
            beacon.wait_ready(120)
            with load.Load(cluster, seed=1, pause_s=0.01) as changes:
                for proxy in on_the_way:
                    until_more(sink)
                    proxy.restart()
                changes.stop()
            load.wait_until_delivered(changes, sink, timeout=120)

            stats = sink.stats()
            assert load.received(sink) == changes.expected
            assert (stats.order_violations, stats.chain_gaps) == (0, 0)
            testkit.until(lambda: beacon.ready()["ready"], "it to be ready again", timeout=60)
