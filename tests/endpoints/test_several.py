"""All of Beacon with nginx, HAProxy and Envoy as its three endpoints: each receiver proves what it got by itself."""

import contextlib
import fnmatch
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import server
from tests.endpoints import proxies
from tests.soak import receipts, truth

pytestmark = pytest.mark.needs("nginx", "haproxy", "envoy")

WITHIN_S = 120.0
CONCURRENCY = 5  # requests that may be on their way when a proxy stops
EVERYTHING, SOME, NO_UPDATES = "everything", "some", "no-updates"
PATTERN = "o1*"


class Receiver:
    """A proxy, the receiver behind it, and what that one accepted."""

    def __init__(self, proxy: proxies.Proxy, sink: endpoint.SinkServer) -> None:
        self.proxy = proxy
        self.sink = sink
        self.receipts = receipts.Receipts(sink)

    def until_more(self, count: int = 20) -> None:
        """Wait until more events have arrived."""
        wanted = self.receipts.look() + count
        testkit.until(lambda: self.receipts.look() >= wanted, f"{wanted} events", timeout=WITHIN_S)


@contextlib.contextmanager
def receivers(authority: trustme.CA) -> Iterator[dict[str, Receiver]]:
    with contextlib.ExitStack() as stack:
        made = {}
        for name, kind in zip((EVERYTHING, SOME, NO_UPDATES), proxies.ALL, strict=True):
            sink = stack.enter_context(endpoint.running(keep=50_000))
            proxy = stack.enter_context(proxies.running(kind, sink.port, authority))
            made[name] = Receiver(proxy, sink)
            stack.callback(made[name].receipts.stop)
        yield made


def expected(name: str, changes: truth.Truth) -> dict[str, list[truth.Expected]]:
    """Return the events that an endpoint selects, by object."""
    found = {}
    for object_, events in changes.expected.items():
        if name != SOME or fnmatch.fnmatchcase(object_, PATTERN):
            found[object_] = [one for one in events if name != NO_UPDATES or one[0] != "updated"]
    return {object_: events for object_, events in found.items() if events}


def prove(name: str, one: Receiver, changes: truth.Truth) -> None:
    """Check what a receiver got: every event once, in order, with the chain of `previous`; and the set it makes."""
    stats = one.sink.stats()
    assert dict(one.receipts.received) == expected(name, changes), name
    assert (stats.order_violations, stats.overlaps, stats.chain_gaps, stats.altered, stats.refused) == (0,) * 5, name
    present = {
        object_: (there.uid, there.value)
        for object_, there in changes.annotated().items()
        if name != SOME or fnmatch.fnmatchcase(object_, PATTERN)
    }
    if name == NO_UPDATES:  # the value is that of the creation
        assert {object_: uid for object_, (uid, _) in one.receipts.holds.items()} == {
            object_: uid for object_, (uid, _) in present.items()
        }
    else:
        assert one.receipts.holds == present, name


def test_three_proxies_are_three_endpoints_and_the_trouble_of_one_holds_up_none_of_the_others(
    authority: trustme.CA,
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        server.running(bookmark_interval_s=1.0) as cluster,
        receivers(authority) as at,
    ):
        changes = truth.Truth(cluster, seed=1)
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": truth.ANNOTATION},
            "events": {"updated": True},
            "endpoints": [
                {"name": EVERYTHING, "url": at[EVERYTHING].proxy.url()},
                {"name": SOME, "url": at[SOME].proxy.url(), "select": {"names": [PATTERN]}},
                {
                    "name": NO_UPDATES,
                    "url": at[NO_UPDATES].proxy.url(),
                    "select": {"types": ["created", "deleted"]},
                },
            ],
        }
        kubeconfig = cluster.kubeconfig(Path(name) / "kubeconfig")
        with testkit.Beacon(Path(name), config=config, kubeconfig=kubeconfig) as beacon:
            beacon.wait_ready(120)
            changes.start()
            for one in at.values():
                one.until_more()
            for down, others in (
                (SOME, (EVERYTHING, NO_UPDATES)),
                (NO_UPDATES, (EVERYTHING, SOME)),
                (EVERYTHING, (SOME, NO_UPDATES)),
            ):
                at[down].proxy.stop()
                before = at[down].receipts.look()
                for other in others:
                    at[other].until_more()
                assert at[down].receipts.look() <= before + CONCURRENCY
                at[down].proxy.start()
                at[down].until_more()
            for one in at.values():
                one.proxy.restart()  # nginx and HAProxy reload
                one.until_more()
            changes.stop()

            for who, one in at.items():
                total = sum(map(len, expected(who, changes).values()))
                testkit.until(lambda one=one, total=total: one.receipts.look() >= total, who, timeout=WITHIN_S)  # type: ignore[misc]
                prove(who, one, changes)
            testkit.until(lambda: beacon.ready()["ready"], "it to be ready", timeout=60)
