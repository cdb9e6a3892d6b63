"""`make bench`: what Beacon does on this machine, against the figures that it is to reach.

Everything real: the embedded API server in a process of its own, Beacon under supervisord, the test endpoint here. The
load is made inside the API server and carries the instant at which it was made; receipt is taken when the request has
arrived. Machines are noisy: each figure is the median of several runs.
"""

import contextlib
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psutil

from beacon import codec
from beacon.dev import endpoint, whole
from beacon.dev.cluster import load, remote
from tests.bench import beside, scraping
from tests.bench import sink as sinks

EVENTS_A_SECOND = 1000
SECONDS = 10
OUTAGE_S = 60.0


@dataclass(frozen=True)
class Stage:
    """A cluster, an endpoint and a Beacon that is ready. `sink` is there when nothing is asked of the endpoint."""

    cluster: remote.Remote
    sink: sinks.Sink
    endpoint: endpoint.Server
    beacon: whole.Beacon
    ready_s: float


@contextlib.contextmanager
def stage(changes: Mapping[str, Any] | None = None, **behaviour: Any) -> Iterator[Stage]:
    """Run everything; `changes` are keys of Beacon's configuration.

    With `behaviour` the endpoint is the test endpoint, which behaves so, else the sink, which costs next to nothing.
    """
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        remote.running(Path(name), "--bookmark-interval", "10", "--history", "100000") as cluster,
        endpoint.running(shape="any", keep=50_000, log="none", **behaviour) as misbehaving,
        sinks.running() as sink,
    ):
        url = misbehaving.url if behaviour else sink.url
        config = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": "bakerapps.net.maas"},
            "payload": {"annotations": [load.MADE_AT]},
            "endpoint": {"url": url},
        }
        merged = config | dict(changes or {})
        merged["endpoint"] = {"url": url} | dict(merged.get("endpoint", {}))
        started = time.monotonic()
        with whole.Beacon(Path(name), config=merged, kubeconfig=cluster.kubeconfig) as beacon:
            beacon.wait_ready()
            yield Stage(cluster, sink, misbehaving, beacon, time.monotonic() - started)


def steady(rows: dict[str, list[float]]) -> None:
    """1000 changes a second: from the change to the request at the endpoint."""
    with stage() as on:
        make(on, 500)
        on.sink.wait_for(500, timeout=60)
        before = cpu_s(on.beacon)
        count = EVENTS_A_SECOND * SECONDS
        make(on, count, rate=EVENTS_A_SECOND, first=500)
        on.sink.wait_for(500 + count, timeout=120)
        spent = cpu_s(on.beacon)
        latencies = sorted(latency_ms(*arrival) for arrival in on.sink.arrived[500:])
        assert on.sink.distinct(500) == count
        add(rows, "p50 at 1000/s", latencies[len(latencies) // 2])
        add(rows, "p99 at 1000/s", latencies[int(len(latencies) * 0.99)])
        for process in spent:
            add(rows, f"CPU s per 1000, {process}", (spent[process] - before[process]) / count * 1000)
        add(rows, "CPU s per 1000, all", sum(spent[p] - before[p] for p in spent) / count * 1000)
        add(rows, "PSS, all", sum(pss_mib(pid) for pid in on.beacon.pids().values()))


def backlog(rows: dict[str, list[float]]) -> None:
    """5000 events that are waiting when the endpoint comes back."""
    with stage() as on:
        on.sink.stop()
        make(on, 5000)
        whole.until(lambda: pending(on) >= 5000, "the backlog", timeout=60)
        on.sink.start()
        on.sink.wait_for(100, timeout=60)
        first, began = len(on.sink.arrived), time.monotonic()
        on.sink.wait_for(5000, timeout=120)
        add(rows, "backlog of 5000, events/s", (5000 - first) / (time.monotonic() - began))


def slow(rows: dict[str, list[float]]) -> None:
    """300 events to an endpoint that takes 50 ms for each."""
    for name, worker in (("concurrency 32", {"concurrency": 32}), ("default settings", {})):
        with stage({"worker": worker}, latency_s=0.05) as on:
            began = time.monotonic()
            make(on, 300)
            on.endpoint.wait_for(lambda stats: stats.distinct == 300, timeout=60)
            add(rows, f"50 ms endpoint, {name}, events/s", 300 / (time.monotonic() - began))


def memory(rows: dict[str, list[float]]) -> None:
    """20,000 objects without the annotation, listed by a watcher that starts."""
    with stage() as on:
        add(rows, "start to ready, s", on.ready_s)
        idle = pss_mib(on.beacon.pids()["watcher"])
        on.beacon.stop()
        on.cluster.call("load", count=20_000)
        on.cluster.call("compact")
        on.beacon.start()
        on.beacon.wait_ready()
        whole.until(lambda: on.beacon.logged("gap closed", reason="expired"), "the list", timeout=60)
        add(rows, "watcher, 20,000 unannotated, MiB more", pss_mib(on.beacon.pids()["watcher"]) - idle)
    with stage() as on:
        before, began = cpu_s(on.beacon), time.monotonic()
        time.sleep(20)
        spent = sum(cpu_s(on.beacon).values()) - sum(before.values())
        add(rows, "idle CPU, % of a core", 100 * spent / (time.monotonic() - began))


def outage(rows: dict[str, list[float]]) -> None:
    """The endpoint is gone for a minute, in which 500 events come."""
    with stage() as on:
        make(on, 50)
        on.sink.wait_for(50, timeout=60)
        on.sink.stop()
        before, began = cpu_s(on.beacon), time.monotonic()
        make(on, 500, rate=500 / OUTAGE_S, first=50)
        time.sleep(max(0.0, began + OUTAGE_S - time.monotonic()))
        spent = sum(cpu_s(on.beacon).values()) - sum(before.values())
        add(rows, "outage of 60 s, CPU, % of a core", 100 * spent / (time.monotonic() - began))
        on.sink.start()
        back = time.monotonic()
        on.sink.wait_for(550, timeout=60)
        add(rows, "outage of 60 s, 500 events told after, s", time.monotonic() - back)


def killed(rows: dict[str, list[float]]) -> None:
    """A process is killed, and at that instant a change is made: when it arrives."""
    with stage() as on:
        for number, process in enumerate(sorted(on.beacon.programs())):
            on.beacon.wait_ready()
            on.beacon.kill(process)
            began = time.monotonic()
            make(on, 1, first=number)
            on.sink.wait_for(number + 1, timeout=60)
            add(rows, f"kill -9 of {process}, next event after, s", time.monotonic() - began)


def disk(rows: dict[str, list[float]]) -> None:
    """What one fsync of 4 KiB appended costs on this disk."""
    with tempfile.NamedTemporaryFile() as file:
        times = []
        for _ in range(200):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1e6)
    add(rows, "fsync of 4 KiB, us", statistics.median(times))


def prune(rows: dict[str, list[float]]) -> None:
    """100,000 rows that are pruned while a change is written every few milliseconds."""
    _write_beside(rows, beside.PRUNE, "pruned")
    disk(rows)


def redeliver(rows: dict[str, list[float]]) -> None:
    """100,000 failed deliveries that are redelivered while a change is written every few milliseconds."""
    _write_beside(rows, beside.REDELIVER, "redelivered")
    disk(rows)


def _write_beside(rows: dict[str, list[float]], work: beside.Work, done: str) -> None:
    alone, meanwhile, rows_a_second = beside.measure(work)
    for name, took in (("write alone", sorted(alone)), (f"write while 100,000 are {done}", sorted(meanwhile))):
        add(rows, f"{name}, p50, ms", took[len(took) // 2])
        add(rows, f"{name}, p99.9, ms", took[int(len(took) * 0.999)])
        add(rows, f"{name}, longest, ms", took[-1])
    add(rows, f"{done} a second", rows_a_second)


def scrape(rows: dict[str, list[float]]) -> None:
    """Scrapes of a Beacon that follows five kinds and has filled its histograms: idle, busy, and at its limit."""
    kinds = ("ConfigMap", "Secret", "Service", "Pod", "ServiceAccount")
    with stage({"resources": [{"apiVersion": "v1", "kind": kind} for kind in kinds]}) as on:
        made = 0
        for rate in (0, 100, EVENTS_A_SECOND):
            first, count = made, rate * SECONDS
            made += count or 500
            took, lines = scraping.measure(on.beacon, lambda: _pass(on, rate, count, first))  # noqa: B023
            on.sink.wait_for(made, timeout=120)
            add(rows, f"scrape at {rate}/s, p50, ms", took[len(took) // 2])
            add(rows, f"scrape at {rate}/s, p95, ms", took[int(len(took) * 0.95)])
        add(rows, "lines of a scrape", lines)


def _pass(on: Stage, rate: int, count: int, first: int) -> None:
    """Let ten seconds pass at a rate; at none, after a burst that fills what is to be shown."""
    if count:
        make(on, count, rate=rate, first=first)
    else:
        make(on, 500)
        on.sink.wait_for(500, timeout=60)
        time.sleep(SECONDS)


RUNS: dict[str, Callable[[dict[str, list[float]]], None]] = {
    "steady": steady,
    "backlog": backlog,
    "slow": slow,
    "memory": memory,
    "outage": outage,
    "killed": killed,
    "disk": disk,
    "prune": prune,
    "redeliver": redeliver,
    "scrape": scrape,
}
TARGETS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "p50 at 1000/s": ("<= 5 ms", lambda figure: figure <= 5),
    "p99 at 1000/s": ("<= 20 ms", lambda figure: figure <= 20),
    "backlog of 5000, events/s": (">= 2000", lambda figure: figure >= 2000),
    "50 ms endpoint, concurrency 32, events/s": (">= 400", lambda figure: figure >= 400),
    "watcher, 20,000 unannotated, MiB more": ("< 15", lambda figure: figure < 15),
    "write while 100,000 are pruned, p99.9, ms": ("<= 50 ms", lambda figure: figure <= 50),
    "write while 100,000 are redelivered, longest, ms": ("<= 50 ms", lambda figure: figure <= 50),
    "scrape at 0/s, p50, ms": ("< 20 ms", lambda figure: figure < 20),
    "scrape at 100/s, p50, ms": ("< 20 ms", lambda figure: figure < 20),
    "start to ready, s": ("< 4", lambda figure: figure < 4),
    "outage of 60 s, CPU, % of a core": ("< 3", lambda figure: figure < 3),
    "outage of 60 s, 500 events told after, s": ("<= 3", lambda figure: figure <= 3),
}


def make(on: Stage, count: int, **more: Any) -> None:
    on.cluster.call("load", count=count, annotations={"bakerapps.net.maas": "true"}, **more)


def latency_ms(at_s: float, body: bytes) -> float:
    made_ns = codec.decode(body)["data"]["metadata"]["annotations"][load.MADE_AT]
    return at_s * 1000 - int(made_ns) / 1e6


def pending(on: Stage) -> float:
    return whole.sample(on.beacon.metrics(), "beacon_deliveries_pending")


def cpu_s(beacon: whole.Beacon) -> dict[str, float]:
    times = {name: psutil.Process(pid).cpu_times() for name, pid in beacon.pids().items()}
    return {name: spent.user + spent.system for name, spent in times.items()}


def pss_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / 2**20


def add(rows: dict[str, list[float]], measure: str, figure: float) -> None:
    rows.setdefault(measure, []).append(figure)


def _by_name(measure: str) -> tuple[str, Callable[[float], bool]]:
    return ("<= 3", lambda figure: figure <= 3) if measure.startswith("kill -9") else ("", lambda _: True)


@click.command()
@click.argument("which", nargs=-1, type=click.Choice([*RUNS]))
@click.option("--runs", default=3, help="How often each is run; the median is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(which: tuple[str, ...], runs: int, *, as_json: bool) -> None:
    """Measure WHICH rows (default: all) and print a table."""
    gc.disable()  # the sink lives here, and would halt for as long as a collection takes
    rows: dict[str, list[float]] = {}
    for name in which or RUNS:
        for number in range(runs):
            click.echo(f"{name}, run {number + 1} of {runs} ...", err=True)
            RUNS[name](rows)
    if as_json:
        sys.stdout.write(codec.encode_pretty(rows).decode())
        return
    click.echo(f"{'measure':<44}{'median':>10}{'min':>10}{'max':>10}   target")
    for measure, figures in rows.items():
        target, is_met = TARGETS.get(measure) or _by_name(measure)
        median = statistics.median(figures)
        verdict = "" if is_met(median) else "   NOT MET"
        click.echo(f"{measure:<44}{median:>10.2f}{min(figures):>10.2f}{max(figures):>10.2f}   {target}{verdict}")


if __name__ == "__main__":
    main()
