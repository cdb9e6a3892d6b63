"""How fast events get through: at several rates, in a burst, and out of a backlog."""

import statistics
import time

from beacon import codec
from tests.bench import own, profiles, rows, spending, stage, terms

_WARM = 500  # events before those that count: code and caches are as they are in a Beacon that has been at work


def seventeen(wanted: terms.Terms) -> rows.Figures:
    """17 changes a second, which is a million and a half a day."""
    with wanted.stage() as on:
        _warm(on, wanted)
        return _at_rate(on, "steady 17/s", rate=17, count=round(17 * wanted.lasting(60)))


def thousand(wanted: terms.Terms) -> rows.Figures:
    """1000 changes a second, and what that costs."""
    with wanted.stage() as on:
        _warm(on, wanted)
        count = wanted.many(20_000)
        before = spending.cpu_s(on.beacon)
        with profiles.taken(wanted.profile, on.beacon):
            figures = _at_rate(on, "1000/s", rate=1000, count=count)
        spent = spending.between(before, spending.cpu_s(on.beacon), times=1000 / count)
        return figures | spending.figures("CPU s per 1000 at 1000/s", spent)


def two_thousand(wanted: terms.Terms) -> rows.Figures:
    """2000 changes a second for a minute."""
    with wanted.stage() as on:
        _warm(on, wanted)
        count = round(2000 * wanted.lasting(60))
        began = time.monotonic()
        figures = _at_rate(on, "2000/s for 60 s", rate=2000, count=count)
        return figures | {"2000/s for 60 s, told a second": count / (time.monotonic() - began)}


def burst(wanted: terms.Terms) -> rows.Figures:
    """2000 changes at 900 a second after silence."""
    with wanted.stage() as on:
        _warm(on, wanted)
        return _at_rate(on, "burst of 2000 at 900/s", rate=900, count=wanted.many(2000))


def backlog(wanted: terms.Terms) -> rows.Figures:
    """5000 objects that are there when Beacon starts on an empty ledger: from the first to the last arrival."""
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
    """5000 events that are waiting when the endpoint comes back: from the hundredth arrival to the last."""
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
    """300 events to an endpoint that takes 50 ms for each."""
    figures: rows.Figures = {}
    with wanted.stage() as on:
        for name, worker in (("concurrency 32", {"concurrency": 32}), ("default settings", {})):
            on.reconfigure(worker=worker, endpoint={"url": on.slow.url})
            count = wanted.many(300)
            told = on.slow.stats().distinct + count
            began = time.monotonic()
            on.make(count)
            on.slow.wait_for(lambda stats: stats.distinct >= told, timeout=60)  # noqa: B023
            figures[f"endpoint of 50 ms, {name}, events/s"] = count / (time.monotonic() - began)
    return figures


def _warm(on: stage.Stage, wanted: terms.Terms) -> None:
    """Send what does not count."""
    told = len(on.sink.arrived) + wanted.many(_WARM)
    on.make(wanted.many(_WARM))
    on.sink.wait_for(told, timeout=60)
    on.until_settled()


def _at_rate(on: stage.Stage, measure: str, *, rate: float, count: int) -> rows.Figures:
    """Make changes at a rate and wait until each has arrived. What this process does meanwhile is the sink's alone."""
    first = len(on.sink.arrived)
    with own.disk_beside() as fsyncs:
        made = on.make(count, rate=rate)
        on.sink.wait_for(first + count, timeout=180)
    arrived = on.sink.arrived[first:]
    distinct = len({codec.decode(body)["id"] for _, body in arrived})
    if distinct != count:
        raise AssertionError(f"{measure}: {count} were made, {distinct} have arrived")
    took = stage.latencies_ms(made, arrived)
    return {
        f"{measure}, p50, ms": statistics.median(took),
        f"{measure}, p99, ms": stage.quantile(took, 0.99),
        f"{measure}, longest, ms": took[-1],
        f"{measure}, longest fsync beside it, ms": max(fsyncs, default=0.0),
        f"{measure}, made late, p99, ms": stage.quantile(stage.lateness_ms(made, arrived), 0.99),
    }


def _drained(on: stage.Stage, measure: str, *, first: int, counted: int) -> rows.Figures:
    """Say how fast what has arrived did, from the one that is `counted` first, and how much of it came again."""
    arrived = [at_s for at_s, _ in on.sink.arrived[counted:]]
    return {
        f"{measure}, events/s": (len(arrived) - 1) / (arrived[-1] - arrived[0]),
        f"{measure}, sent more than once": len(on.sink.arrived) - first - on.sink.distinct(first),
    }
