"""Memory of Beacon, and its start with many objects."""

import time

from beacon.dev import testkit
from tests.bench import rows, spending, terms

_SETTLE_S = 12.0  # after this time, memory freed after a burst has been returned to the system
_LONG_ENOUGH_S = 5.0  # requests after a start are sent within this time


def nothing_tracked(wanted: terms.Terms) -> rows.Figures:
    """Measure memory with an empty cluster, some time after the start and after a scrape."""
    with wanted.stage() as on:
        on.pending()
        time.sleep(wanted.lasting(_SETTLE_S))
        return {
            "start to ready, empty ledger, s": on.ready_s,
            **spending.figures("PSS with nothing tracked, MiB", spending.pss_mib(on.beacon)),
        }


def added(wanted: terms.Terms) -> rows.Figures:
    """Measure the memory added by 5000 objects without the annotation and 5000 with it, after their delivery."""
    with wanted.stage() as on:
        on.pending()  # a scrape
        time.sleep(wanted.lasting(_SETTLE_S))
        before = spending.pss_mib(on.beacon)
        count = wanted.many(5000)
        expected = len(on.sink.arrived) + count
        on.make(count, annotated=False)
        on.make(count)
        on.sink.wait_for(expected, timeout=120)
        on.until_settled()
        time.sleep(wanted.lasting(_SETTLE_S))
        more = spending.between(before, spending.pss_mib(on.beacon))
        return spending.figures("PSS added by 5000 unannotated + 5000 annotated, MiB", more)


def restart(wanted: terms.Terms) -> rows.Figures:
    """Measure a restart with 5000 tracked objects after all their events were delivered."""
    with wanted.stage() as on:
        count = wanted.many(5000)
        expected = len(on.sink.arrived) + count
        on.make(count)
        on.sink.wait_for(expected, timeout=120)
        on.until_settled()
        on.beacon.stop()
        on.start()
        time.sleep(wanted.lasting(_LONG_ENOUGH_S))
        return {
            "start to ready, 5000 tracked, s": on.ready_s,
            "clean restart with everything delivered, sends": len(on.sink.arrived) - expected,
        }


def listed(wanted: terms.Terms) -> rows.Figures:
    """Measure the memory of a watcher that lists 20,000 objects without the annotation at its start."""
    with wanted.stage() as on:
        alone = spending.pss_mib(on.beacon)["watcher"]
        on.beacon.stop()
        on.make(wanted.many(20_000), annotated=False)
        assert on.cluster.embedded is not None
        on.cluster.embedded.call("compact")
        on.start()
        testkit.until(
            lambda: testkit.sample(on.beacon.metrics(), "beacon_gaps_total", reason="expired"), "the list", timeout=60
        )
        return {"watcher, 20,000 unannotated, MiB more": spending.pss_mib(on.beacon)["watcher"] - alone}
