"""Several endpoints: what one costs the others, and how fast an added one catches up. Each row compares two runs."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beacon import codec
from beacon.dev.api_server import load
from tests.bench import rows, spending, stage, terms
from tests.bench import sink as sinks

_WAITING = 20_000
_CAUGHT_UP = 100_000
_BESIDE_OUTAGE_PER_S = 500
_BESIDE_CATCH_UP_PER_S = 50
_AT_ONCE = 10_000
_LONG_S = 600.0
_SETTLE_S = 12.0  # as in `sizes`
_TO_WARM_UP = 100  # arrivals before a rate is measured


def down(wanted: terms.Terms) -> rows.Figures:
    """Measure 500 changes a second to two endpoints, without a third one and with one that is down."""
    p99: dict[str, float] = {}
    spent: dict[str, Mapping[str, float]] = {}
    for name, has_third in (("without", False), ("with", True)):
        with _stage(wanted) as on, _more_sinks(2) as (second, third):
            third.stop()
            used = [on.sink, second] + ([third] if has_third else [])
            _configure(on, used)
            first = [len(one.arrived) for one in used]
            count = wanted.many(_WAITING)
            _make(on, count)
            _wait(used[:2], first[:2], count)
            count, before = round(_BESIDE_OUTAGE_PER_S * wanted.lasting(20)), spending.cpu_s(on.beacon)
            p99[name] = _p99_ms(on, used[:2], rate=_BESIDE_OUTAGE_PER_S, count=count)
            spent[name] = spending.between(before, spending.cpu_s(on.beacon), times=1000 / count)
    measure = "one of three endpoints down, 20,000 waiting"
    return {
        f"{measure}: p99 at 500/s, times that without it": p99["with"] / p99["without"],
        f"{measure}: p99 at 500/s, ms": p99["with"],
        f"{measure}: p99 at 500/s without it, ms": p99["without"],
        **spending.figures(f"{measure}: CPU s per 1000 at 500/s", spent["with"]),
        **spending.figures(f"{measure}: CPU s per 1000 at 500/s without it", spent["without"]),
    }


def catch_up(wanted: terms.Terms) -> rows.Figures:
    """Measure an added endpoint that catches up 100,000 objects, beside the rate of a backlog of as many events."""
    with _stage(wanted) as on, _more_sinks(1) as (second,):
        count, first = wanted.many(_CAUGHT_UP), len(on.sink.arrived)
        on.sink.stop()
        _make(on, count)
        on.until_pending(count, timeout=_LONG_S)
        on.sink.start()
        _wait([on.sink], [first], count)
        on.until_settled(timeout=_LONG_S)
        backlog = _rate(on.sink.arrived[first:])
        on.beacon.stop()  # after a kill the ledger would be checked, which takes long with 100,000 objects
        _configure(on, [on.sink, second])
        _wait([second], [0], on.annotated)
        caught_up = _rate(second.arrived)
    return {
        "catch-up of 100,000 objects, times the backlog rate": caught_up / backlog,
        "catch-up of 100,000 objects, objects/s": caught_up,
        "backlog of 100,000 when the endpoint returns, events/s": backlog,
    }


def beside_catch_up(wanted: terms.Terms) -> rows.Figures:
    """Measure 50 changes a second while an added endpoint catches up 100,000 objects, and after it."""
    with _stage(wanted) as on, _more_sinks(1) as (second,):
        count, first = wanted.many(_CAUGHT_UP), len(on.sink.arrived)
        _make(on, count)
        _wait([on.sink], [first], count)
        on.until_settled(timeout=_LONG_S)
        waiting = on.annotated
        on.beacon.stop()  # after a kill the ledger would be checked, which takes long with 100,000 objects
        _configure(on, [on.sink, second])
        live = round(_BESIDE_CATCH_UP_PER_S * wanted.lasting(12))
        beside = _p99_ms(on, [on.sink, second], rate=_BESIDE_CATCH_UP_PER_S, count=live)
        done = len(second.arrived) / (waiting + live)
        _wait([second], [0], waiting + live)
        on.until_settled(timeout=_LONG_S)
        alone = _p99_ms(on, [on.sink, second], rate=_BESIDE_CATCH_UP_PER_S, count=live)
    return {
        "catch-up of 100,000 objects beside 50/s: p99, times that without": beside / alone,
        "catch-up of 100,000 objects beside 50/s: p99, ms": beside,
        "catch-up of 100,000 objects beside 50/s: p99 without, ms": alone,
        "catch-up of 100,000 objects beside 50/s: share done at the end of the load": done,
    }


def cost(wanted: terms.Terms) -> rows.Figures:
    """Measure processor time and memory of two endpoints that get everything, beside those of one."""
    spent: dict[int, Mapping[str, float]] = {}
    memory: dict[int, Mapping[str, float]] = {}
    later: dict[int, Mapping[str, float]] = {}
    for number in (1, 2):
        with _stage(wanted) as on, _more_sinks(1) as (second,):
            used = [on.sink, second][:number]
            _configure(on, used)
            on.until_settled(timeout=_LONG_S)
            on.pending()  # a scrape
            time.sleep(wanted.lasting(_SETTLE_S))
            memory[number] = spending.pss_mib(on.beacon)
            _p99_ms(on, used, rate=500, count=wanted.many(500))
            count, before = wanted.many(10_000), spending.cpu_s(on.beacon)
            _p99_ms(on, used, rate=500, count=count)
            on.until_settled(timeout=_LONG_S)
            spent[number] = spending.between(before, spending.cpu_s(on.beacon), times=1000 / count)
            time.sleep(wanted.lasting(_SETTLE_S))
            later[number] = spending.pss_mib(on.beacon)
    return {
        "two endpoints: CPU per 1000 at 500/s, times one": sum(spent[2].values()) / sum(spent[1].values()),
        **spending.figures("two endpoints: CPU s per 1000 at 500/s", spent[2]),
        **spending.figures("one endpoint: CPU s per 1000 at 500/s", spent[1]),
        **spending.figures("two endpoints: idle PSS, MiB more than one", spending.between(memory[1], memory[2])),
        **spending.figures("two endpoints: PSS after 10,000, MiB more than one", spending.between(later[1], later[2])),
    }


@contextlib.contextmanager
def _stage(wanted: terms.Terms) -> Iterator[stage.Stage]:
    """Yield a stage whose ledger is removed at the end: it has deliveries to endpoints that are gone."""
    with wanted.stage() as on:
        yield on
        on.ledger()


@contextlib.contextmanager
def _more_sinks(count: int) -> Iterator[Sequence[sinks.Sink]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(sinks.running()) for _ in range(count)]


def _configure(on: stage.Stage, used: Sequence[sinks.Sink]) -> None:
    """Restart Beacon with these endpoints; the first one is that of the stage."""
    names = ["default", *(f"number-{number}" for number in range(2, len(used) + 1))]
    entries: list[dict[str, Any]] = [{"name": name, "url": one.url} for name, one in zip(names, used, strict=True)]
    on.reconfigure(endpoints=entries)


def _make(on: stage.Stage, count: int) -> None:
    """Create objects; the API server's answer to one request must come in time."""
    for first in range(0, count, _AT_ONCE):
        on.make(min(_AT_ONCE, count - first))


def _wait(used: Sequence[sinks.Sink], first: Sequence[int], count: int) -> None:
    """Wait until each sink has received this number of requests more than before."""
    for one, before in zip(used, first, strict=True):
        one.wait_for(before + count, timeout=_LONG_S)


def _p99_ms(on: stage.Stage, used: Sequence[sinks.Sink], *, rate: float, count: int) -> float:
    """Make changes at a rate; return the 99th percentile of the latencies at all of the sinks."""
    began_ns = time.time_ns()
    first = [len(one.arrived) for one in used]
    made = on.make(count, rate=rate)
    took: list[float] = []
    for one, before in zip(used, first, strict=True):
        took += stage.latencies_ms(made, _made_since(began_ns, one, before, count))
    return stage.quantile(sorted(took), 0.99)


def _made_since(began_ns: int, sink: sinks.Sink, first: int, count: int) -> list[sinks.Arrival]:
    """Wait for the events of `count` objects that were made since an instant; others are those of a catch-up."""
    found: list[sinks.Arrival] = []
    looked_at = first
    until = time.monotonic() + _LONG_S
    while len(found) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{count} events expected, {len(found)} arrived")
        sink.wait_for(looked_at + 1, timeout=_LONG_S)
        arrived = sink.arrived[looked_at:]
        looked_at += len(arrived)
        found += [one for one in arrived if _made_ns(one[1]) >= began_ns]
    return found


def _made_ns(body: bytes) -> int:
    return int(codec.decode(body)["data"]["metadata"]["annotations"][load.MADE_AT])


def _rate(arrived: Sequence[sinks.Arrival]) -> float:
    """Return the arrivals a second, from the hundredth to the last one."""
    times = [at_s for at_s, _ in arrived[min(_TO_WARM_UP, len(arrived) // 2) :]]
    return (len(times) - 1) / (times[-1] - times[0])
