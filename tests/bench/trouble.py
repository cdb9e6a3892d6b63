"""Cost of an idle Beacon, and its recovery from failures."""

import time

from tests.bench import rows, spending, terms

_SETTLE_S = 5.0  # between the last activity and the measurement


def idle(wanted: terms.Terms) -> rows.Figures:
    """Measure forty idle seconds."""
    with wanted.stage() as on:
        time.sleep(wanted.lasting(_SETTLE_S))
        before, began = spending.cpu_s(on.beacon), time.monotonic()
        time.sleep(wanted.lasting(40))
        spent = spending.between(before, spending.cpu_s(on.beacon), times=100 / (time.monotonic() - began))
        return spending.figures("idle CPU, % of a core", spent)


def outage(wanted: terms.Terms) -> rows.Figures:
    """Measure an outage of the endpoint: 500 events are created, and it stays down for twenty more seconds."""
    with wanted.stage() as on:
        count = wanted.many(500)
        arrived = len(on.sink.arrived) + 50
        on.make(50)
        on.sink.wait_for(arrived, timeout=60)
        on.sink.stop()
        gone = spending.cpu_s(on.beacon)
        on.make(count)
        on.until_pending(count)
        before, began = spending.cpu_s(on.beacon), time.monotonic()
        time.sleep(wanted.lasting(20))
        after, lasted = spending.cpu_s(on.beacon), time.monotonic() - began
        on.sink.start()
        back = time.monotonic()
        on.sink.wait_for(arrived + count, timeout=60)
        return {
            "outage of 20 s, 500 delivered after its end, s": time.monotonic() - back,
            "outage of 20 s, CPU s for the 500 to come, all": sum(spending.between(gone, before).values()),
            "outage of 20 s, 500 waiting, % of a core": 100 * sum(spending.between(before, after).values()) / lasted,
            **spending.figures("outage of 20 s, 500 waiting, CPU s", spending.between(before, after)),
        }


def killed(wanted: terms.Terms) -> rows.Figures:
    """Measure the latency of an event whose object is created just after a process was killed."""
    figures: rows.Figures = {}
    with wanted.stage() as on:
        for process in sorted(on.beacon.programs()):
            on.beacon.wait_ready()
            arrived = len(on.sink.arrived)
            on.beacon.kill(process)
            began = time.monotonic()
            on.make(1)
            on.sink.wait_for(arrived + 1, timeout=60)
            figures[f"kill -9 of {process}, next event after, s"] = time.monotonic() - began
    return figures
