"""What memory Beacon takes, and how it starts when it has a lot to follow."""

import time

from beacon.dev import whole
from tests.bench import spending, stage, terms

_SETTLE_S = 5.0
_LONG_ENOUGH_S = 5.0  # whatever is sent after a start is sent within that


def nothing_tracked(wanted: terms.Terms) -> terms.Figures:
    """An empty cluster, some time after the start."""
    with stage.stage(wanted, start=False) as on:
        took = on.start()
        time.sleep(wanted.lasting(_SETTLE_S))
        return {
            "start to ready, empty ledger, s": took,
            **spending.rows("PSS with nothing tracked, MiB", spending.pss_mib(on.beacon)),
        }


def added(wanted: terms.Terms) -> terms.Figures:
    """5000 objects without the annotation and 5000 with it come, and are told."""
    with stage.stage(wanted) as on:
        time.sleep(wanted.lasting(_SETTLE_S))
        before = spending.pss_mib(on.beacon)
        count = wanted.many(5000)
        on.cluster.make(count, annotated=False)
        on.cluster.make(count, first=count)
        on.sink.wait_for(count, timeout=120)
        on.until_settled()
        time.sleep(wanted.lasting(_SETTLE_S))
        more = spending.between(before, spending.pss_mib(on.beacon))
        return spending.rows("PSS added by 5000 unannotated + 5000 annotated, MiB", more)


def restart(wanted: terms.Terms) -> terms.Figures:
    """A clean end with 5000 tracked and told, and a start."""
    with stage.stage(wanted) as on:
        count = wanted.many(5000)
        on.cluster.make(count)
        on.sink.wait_for(count, timeout=120)
        on.until_settled()
        on.beacon.stop()
        told = len(on.sink.arrived)
        took = on.start()
        time.sleep(wanted.lasting(_LONG_ENOUGH_S))
        return {
            "start to ready, 5000 tracked, s": took,
            "clean restart with everything delivered, sends": len(on.sink.arrived) - told,
        }


def listed(wanted: terms.Terms) -> terms.Figures:
    """20,000 objects without the annotation, listed by a watcher that starts."""
    with stage.stage(wanted) as on:
        alone = spending.pss_mib(on.beacon)["watcher"]
        on.beacon.stop()
        on.cluster.make(wanted.many(20_000), annotated=False)
        assert on.cluster.embedded is not None
        on.cluster.embedded.call("compact")
        on.start()
        whole.until(lambda: on.beacon.logged("gap closed", reason="expired"), "the list", timeout=60)
        return {"watcher, 20,000 unannotated, MiB more": spending.pss_mib(on.beacon)["watcher"] - alone}
