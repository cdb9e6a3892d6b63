"""Latency beside maintenance: pruning, redelivering, scraping."""

import time

from tests.bench import beside, rows, scraping, stage, terms

_KINDS = ("ConfigMap", "Secret", "Service", "Pod", "ServiceAccount")
_SECONDS = 10


def prune(wanted: terms.Terms) -> rows.Figures:
    """Measure pruning of 100,000 rows while a change is written every few milliseconds."""
    return _write_beside(wanted, beside.PRUNE, "pruned")


def redeliver(wanted: terms.Terms) -> rows.Figures:
    """Measure redelivery of 100,000 failed deliveries while a change is written every few milliseconds."""
    return _write_beside(wanted, beside.REDELIVER, "redelivered")


def _write_beside(wanted: terms.Terms, work: beside.Work, done: str) -> rows.Figures:
    alone, meanwhile, rows_a_second = beside.measure(work, rows=wanted.many(100_000), alone_s=wanted.lasting(10))
    figures = {f"{done} a second": rows_a_second}
    for name, took in (("write alone", sorted(alone)), (f"write while 100,000 are {done}", sorted(meanwhile))):
        figures[f"{name}, p50, ms"] = stage.quantile(took, 0.5)
        figures[f"{name}, p99.9, ms"] = stage.quantile(took, 0.999)
        figures[f"{name}, longest, ms"] = took[-1]
    return figures


def scrape(wanted: terms.Terms) -> rows.Figures:
    """Measure scrapes of a Beacon with five kinds and filled histograms: idle, busy, and at its limit."""
    figures: rows.Figures = {}
    with wanted.stage() as on:
        on.reconfigure(resources=[on.cluster.entry(kind) for kind in _KINDS])
        made = len(on.sink.arrived) + wanted.many(500)
        on.make(wanted.many(500))
        for rate in (0, 100, 1000):
            count = round(rate * wanted.lasting(_SECONDS))
            took, lines = scraping.measure(on.beacon, lambda: _pass(on, wanted, rate, count))  # noqa: B023
            made += count
            on.sink.wait_for(made, timeout=120)
            figures[f"scrape at {rate}/s, p50, ms"] = stage.quantile(took, 0.5)
            figures[f"scrape at {rate}/s, p95, ms"] = stage.quantile(took, 0.95)
    return figures | {"lines of a scrape": lines}


def _pass(on: stage.Stage, wanted: terms.Terms, rate: int, count: int) -> None:
    """Run ten seconds of load at a rate."""
    if count:
        on.make(count, rate=rate)
    else:
        time.sleep(wanted.lasting(_SECONDS))
