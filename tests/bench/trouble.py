"""What Beacon costs when nothing happens, and how it gets through what should not happen."""

import time

from tests.bench import rows, spending, terms

_SETTLE_S = 5.0  # after the last that happened, before nothing happens


def idle(wanted: terms.Terms) -> rows.Figures:
    """Nothing to do for forty seconds."""
    with wanted.stage() as on:
        time.sleep(wanted.lasting(_SETTLE_S))
        before, began = spending.cpu_s(on.beacon), time.monotonic()
        time.sleep(wanted.lasting(40))
        spent = spending.between(before, spending.cpu_s(on.beacon), times=100 / (time.monotonic() - began))
        return spending.figures("idle CPU, % of a core", spent)


def outage(wanted: terms.Terms) -> rows.Figures:
    """The endpoint is gone, 500 events come, and it stays away for twenty seconds more."""
    with wanted.stage() as on:
        count = wanted.many(500)
        told = len(on.sink.arrived) + 50
        on.make(50)
        on.sink.wait_for(told, timeout=60)
        on.sink.stop()
        gone = spending.cpu_s(on.beacon)
        on.make(count)
        on.until_pending(count)
        before, began = spending.cpu_s(on.beacon), time.monotonic()
        time.sleep(wanted.lasting(20))
        after, lasted = spending.cpu_s(on.beacon), time.monotonic() - began
        on.sink.start()
        back = time.monotonic()
        on.sink.wait_for(told + count, timeout=60)
        return {
            "outage of 20 s, 500 delivered after its end, s": time.monotonic() - back,
            "outage of 20 s, CPU s for the 500 to come, all": sum(spending.between(gone, before).values()),
            "outage of 20 s, 500 waiting, % of a core": 100 * sum(spending.between(before, after).values()) / lasted,
            **spending.figures("outage of 20 s, 500 waiting, CPU s", spending.between(before, after)),
        }


def killed(wanted: terms.Terms) -> rows.Figures:
    """A process is killed, and at that instant a change is made: when it arrives."""
    figures: rows.Figures = {}
    with wanted.stage() as on:
        for process in sorted(on.beacon.programs()):
            on.beacon.wait_ready()
            told = len(on.sink.arrived)
            on.beacon.kill(process)
            began = time.monotonic()
            on.make(1)
            on.sink.wait_for(told + 1, timeout=60)
            figures[f"kill -9 of {process}, next event after, s"] = time.monotonic() - began
    return figures
