"""Throughput and latency of events: at several rates, in a burst, and from a backlog."""

import statistics
import time

from beacon import codec
from tests.bench import own, profiles, rows, spending, stage, terms

_WARM = 500  # warm-up events, so that code and caches are in the state of a running Beacon


def seventeen(wanted: terms.Terms) -> rows.Figures:
    """Measure 17 changes a second, which are 1.5 million a day."""
    with wanted.stage() as on:
        warm(on, wanted)
        return at_rate(on, "steady 17/s", rate=17, count=round(17 * wanted.lasting(60)))


def thousand(wanted: terms.Terms) -> rows.Figures:
    """Measure 1000 changes a second, and their processor time."""
    with wanted.stage() as on:
        warm(on, wanted)
        count = wanted.many(20_000)
        before = spending.cpu_s(on.beacon)
        with profiles.taken(wanted.profile, on.beacon):
            figures = at_rate(on, "1000/s", rate=1000, count=count)
        spent = spending.between(before, spending.cpu_s(on.beacon), times=1000 / count)
        return figures | spending.figures("CPU s per 1000 at 1000/s", spent)


def hundred(wanted: terms.Terms) -> rows.Figures:
    """Measure 100 changes a second."""
    with wanted.stage() as on:
        warm(on, wanted)
        return at_rate(on, "100/s", rate=100, count=round(100 * wanted.lasting(30)))


def two_thousand(wanted: terms.Terms) -> rows.Figures:
    """Measure 2000 changes a second for a minute."""
    with wanted.stage() as on:
        warm(on, wanted)
        count = round(2000 * wanted.lasting(60))
        began = time.monotonic()
        figures = at_rate(on, "2000/s for 60 s", rate=2000, count=count)
        return figures | {"2000/s for 60 s, delivered a second": count / (time.monotonic() - began)}


def burst(wanted: terms.Terms) -> rows.Figures:
    """Measure a burst of 2000 changes at 900 a second."""
    with wanted.stage() as on:
        warm(on, wanted)
        return at_rate(on, "burst of 2000 at 900/s", rate=900, count=wanted.many(2000))


def backlog(wanted: terms.Terms) -> rows.Figures:
    """Measure 5000 objects that exist when Beacon starts with an empty ledger: from the first to the last arrival."""
    with wanted.stage() as on:
        started = on.start_cpu_s
        on.ledger()
        on.make(wanted.many(5000))
        first = len(on.sink.arrived)
        on.start()
        on.sink.wait_for(first + on.annotated, timeout=120)
        on.until_settled()
        spent = spending.between(started, spending.cpu_s(on.beacon), times=1000 / on.annotated)
        drained = _drained(on, "backlog of 5000 at start", first=first, counted=first)
        return drained | spending.figures("CPU s per 1000 of the backlog at start", spent)


def returned(wanted: terms.Terms) -> rows.Figures:
    """Measure 5000 events that are pending when the endpoint returns: from the hundredth to the last arrival."""
    with wanted.stage() as on:
        first, count = len(on.sink.arrived), wanted.many(5000)
        on.sink.stop()
        on.make(count)
        on.until_pending(count)
        on.sink.start()
        on.sink.wait_for(first + count, timeout=120)
        on.until_settled()
        measure = "backlog of 5000 when the endpoint returns"
        return _drained(on, measure, first=first, counted=first + min(100, count // 2))


def slow(wanted: terms.Terms) -> rows.Figures:
    """Measure 300 events to an endpoint that takes 50 ms for each."""
    figures: rows.Figures = {}
    with wanted.stage() as on:
        for name, worker in (("concurrency 32", {"concurrency": 32}), ("default settings", {})):
            on.reconfigure(worker=worker, endpoint={"url": on.slow.url})
            count = wanted.many(300)
            expected = on.slow.stats().distinct + count
            began = time.monotonic()
            on.make(count)
            on.slow.wait_for(lambda stats: stats.distinct >= expected, timeout=60)  # noqa: B023
            figures[f"endpoint of 50 ms, {name}, events/s"] = count / (time.monotonic() - began)
    return figures


def warm(on: stage.Stage, wanted: terms.Terms) -> None:
    """Send the warm-up events."""
    expected = len(on.sink.arrived) + wanted.many(_WARM)
    on.make(wanted.many(_WARM))
    on.sink.wait_for(expected, timeout=60)
    on.until_settled()


def at_rate(on: stage.Stage, measure: str, *, rate: float, count: int) -> rows.Figures:
    """Make changes at a rate and wait until each has arrived. Meanwhile this process only runs the sink."""
    first = len(on.sink.arrived)
    with own.disk_beside() as fsyncs:
        made = on.make(count, rate=rate)
        on.sink.wait_for(first + count, timeout=180)
    arrived = on.sink.arrived[first:]
    distinct = len({codec.decode(body)["id"] for _, body in arrived})
    if distinct != count:
        raise AssertionError(f"{measure}: {count} events expected, {distinct} arrived")
    took = stage.latencies_ms(made, arrived)
    return {
        f"{measure}, p50, ms": statistics.median(took),
        f"{measure}, p99, ms": stage.quantile(took, 0.99),
        f"{measure}, longest, ms": took[-1],
        f"{measure}, longest fsync beside it, ms": max(fsyncs, default=0.0),
        f"{measure}, made late, p99, ms": stage.quantile(stage.lateness_ms(made, arrived), 0.99),
        f"{measure}, made a second": stage.made_a_second(made, arrived),
    }


def _drained(on: stage.Stage, measure: str, *, first: int, counted: int) -> rows.Figures:
    """Return the rate of the arrivals from index `counted` on, and the number of duplicates from index `first` on."""
    arrived = [at_s for at_s, _ in on.sink.arrived[counted:]]
    return {
        f"{measure}, events/s": (len(arrived) - 1) / (arrived[-1] - arrived[0]),
        f"{measure}, sent more than once": len(on.sink.arrived) - first - on.sink.distinct(first),
    }
