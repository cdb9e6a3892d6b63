"""How fast events get through: at several rates, in a burst, and out of a backlog."""

import statistics
import time

from beacon import codec
from tests.bench import profiles, spending, stage, terms

_WARM = 500  # events before those that count: code and caches are as they are in a Beacon that has been at work


def seventeen(wanted: terms.Terms) -> terms.Figures:
    """17 changes a second, which is a million and a half a day."""
    with stage.stage(wanted) as on:
        return _at_rate(on, "steady 17/s", _warm(on, wanted), rate=17, count=round(17 * wanted.lasting(60)))


def thousand(wanted: terms.Terms) -> terms.Figures:
    """1000 changes a second, and what that costs."""
    with stage.stage(wanted, environ=profiles.environ(wanted)) as on:
        made = _warm(on, wanted)
        count = wanted.many(20_000)
        before = spending.cpu_s(on.beacon)
        with profiles.taken(wanted, on.beacon):
            figures = _at_rate(on, "1000/s", made, rate=1000, count=count)
        spent = spending.between(before, spending.cpu_s(on.beacon), times=1000 / count)
        return figures | spending.rows("CPU s per 1000 at 1000/s", spent)


def two_thousand(wanted: terms.Terms) -> terms.Figures:
    """2000 changes a second for a minute."""
    with stage.stage(wanted) as on:
        made, count = _warm(on, wanted), round(2000 * wanted.lasting(60))
        began = time.monotonic()
        figures = _at_rate(on, "2000/s for 60 s", made, rate=2000, count=count)
        return figures | {"2000/s for 60 s, told a second": count / (time.monotonic() - began)}


def burst(wanted: terms.Terms) -> terms.Figures:
    """2000 changes at 900 a second after silence."""
    with stage.stage(wanted) as on:
        return _at_rate(on, "burst of 2000 at 900/s", _warm(on, wanted), rate=900, count=wanted.many(2000))


def backlog(wanted: terms.Terms) -> terms.Figures:
    """5000 objects that are there when Beacon starts: from the first to the last arrival."""
    with stage.stage(wanted) as empty:
        started = spending.cpu_s(empty.beacon)
    with stage.stage(wanted, start=False) as on:
        count = wanted.many(5000)
        on.cluster.make(count)
        on.start()
        on.sink.wait_for(count, timeout=120)
        on.until_settled()
        arrived = [at_s for at_s, _ in on.sink.arrived]
        spent = spending.between(started, spending.cpu_s(on.beacon), times=1000 / count)
        return {
            "backlog of 5000 at start, events/s": (len(arrived) - 1) / (arrived[-1] - arrived[0]),
            "backlog of 5000 at start, sent more than once": len(arrived) - on.sink.distinct(),
            **spending.rows("CPU s per 1000 of the backlog at start", spent),
        }


def returned(wanted: terms.Terms) -> terms.Figures:
    """5000 events that are waiting when the endpoint comes back: from the hundredth arrival to the last."""
    with stage.stage(wanted) as on:
        on.sink.stop()
        count = wanted.many(5000)
        on.cluster.make(count)
        on.until_pending(count)
        on.sink.start()
        on.sink.wait_for(count, timeout=120)
        on.until_settled()
        arrived = [at_s for at_s, _ in on.sink.arrived][min(100, count // 2) :]
        return {
            "backlog of 5000 when the endpoint returns, events/s": (len(arrived) - 1) / (arrived[-1] - arrived[0]),
            "backlog of 5000 when the endpoint returns, sent more than once": len(on.sink.arrived) - on.sink.distinct(),
        }


def slow(wanted: terms.Terms) -> terms.Figures:
    """300 events to an endpoint that takes 50 ms for each."""
    figures: terms.Figures = {}
    for name, worker in (("concurrency 32", {"concurrency": 32}), ("default settings", {})):
        with stage.stage(wanted, {"worker": worker}, latency_s=0.05) as on:
            count = wanted.many(300)
            began = time.monotonic()
            on.cluster.make(count)
            on.endpoint.wait_for(lambda stats: stats.distinct == count, timeout=60)  # noqa: B023
            figures[f"endpoint of 50 ms, {name}, events/s"] = count / (time.monotonic() - began)
    return figures


def _warm(on: stage.Stage, wanted: terms.Terms) -> int:
    """Send what does not count, and return how many that were."""
    count = wanted.many(_WARM)
    on.cluster.make(count)
    on.sink.wait_for(count, timeout=60)
    on.until_settled()
    return count


def _at_rate(on: stage.Stage, measure: str, first: int, *, rate: float, count: int) -> terms.Figures:
    """Make changes at a rate and wait until each has arrived. What this process does meanwhile is the sink's alone."""
    made = on.cluster.make(count, rate=rate, first=first)
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
        f"{measure}, made late, p99, ms": stage.quantile(stage.lateness_ms(made, arrived), 0.99),
    }
