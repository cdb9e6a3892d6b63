"""What is large or many: changes of other objects, the highest rate, the largest list, many scopes."""

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

from beacon.dev import testkit
from tests.bench import flow, rows, spending, stage, terms

_RATES = (250, 500, 750, 1000, 1250, 1500, 1750, 2000, 2250, 2500, 2750, 3000, 3500, 4000)
_STEP_S = 4.0
_ATTEMPTS = 3
_FAILED = 2  # rates in a row that end the search
_BOUND_MS = 50.0
_LEAST_SHARE = 0.9  # of a rate, which the load itself must reach
_OBJECTS = 2000
_CHANGES_S = 20.0
_SETTLE_S = 15.0
_LONGEST_S = 300.0
_SAMPLE_S = 0.25
_FILES = 1024  # as container runtimes limit it
_SCOPES = 200


def churn(wanted: terms.Terms) -> rows.Figures:
    """Measure 50 annotated objects a second beside 5000 changes a second of objects without the annotation."""
    with wanted.stage() as on, futures.ThreadPoolExecutor(1) as beside:
        flow.warm(on, wanted)
        objects = wanted.many(_OBJECTS)
        first, seconds = on.fill(objects), wanted.lasting(_CHANGES_S)
        before, began = spending.cpu_s(on.beacon), time.monotonic()
        reached = beside.submit(on.cluster.churn, objects, first=first, rate=5000, seconds=seconds)
        figures = flow.at_rate(on, "5000 unannotated/s beside 50/s", rate=50, count=round(50 * seconds))
        rate = reached.result()
        spent = spending.between(before, spending.cpu_s(on.beacon), times=1 / (time.monotonic() - began))
        return {
            **figures,
            "5000 unannotated/s, changes a second": rate,
            **spending.figures("5000 unannotated/s beside 50/s, cores", spent),
        }


def capacity(wanted: terms.Terms) -> rows.Figures:
    """Search the highest rate at which the p99 stays within 50 ms, in steps of a few seconds each.

    A shared machine stalls now and then: a rate fails only if each of several attempts does, and two end the search.
    """
    found = {"capacity at a p99 of 50 ms, events/s": 0.0}
    failed = 0
    with wanted.stage() as on:
        flow.warm(on, wanted)
        for rate in _RATES[: 2 if wanted.miniature else None]:
            reached, p99_ms = _step(on, wanted, rate)
            for _ in range(_ATTEMPTS - 1):
                if p99_ms > _BOUND_MS:
                    reached, p99_ms = _step(on, wanted, rate)
            if p99_ms <= _BOUND_MS and reached >= _LEAST_SHARE * rate:
                failed = 0
                found["capacity at a p99 of 50 ms, events/s"] = reached
                continue
            failed += 1
            found["capacity, p99 at a rate beyond, ms"] = p99_ms
            found["capacity, rate of the load beyond, events/s"] = reached
            if failed == _FAILED:
                break
    return found


def big_list(wanted: terms.Terms) -> rows.Figures:
    """Measure a start with an empty ledger and 150,000 objects without the annotation."""
    with wanted.stage() as on:
        on.ledger()
        on.fill(wanted.many(150_000))
        with _peaks(on) as peaks:
            began = time.monotonic()
            on.start(timeout_s=_LONGEST_S)
            testkit.until(lambda: _compared(on), "the first comparison", timeout=_LONGEST_S)
            compared_s = time.monotonic() - began
        on.ledger()
        on.start(timeout_s=_LONGEST_S)
        return {
            "list of 150,000, ready, s": on.ready_s,
            "list of 150,000, compared, s": compared_s,
            **{f"list of 150,000, most PSS, MiB, {name}": most for name, most in sorted(peaks.items())},
        }


def scopes(wanted: terms.Terms) -> rows.Figures:
    """Measure 200 listed namespaces with 1024 open files."""
    names = [f"team-{number}" for number in range(wanted.many(_SCOPES))]
    with wanted.stage() as on:
        time.sleep(wanted.lasting(_SETTLE_S))
        alone = spending.pss_mib(on.beacon)
        for name in names:
            on.cluster.own.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        on.reconfigure(files=_FILES, resources=[on.cluster.entry("ConfigMap") | {"namespaces": names}])
        time.sleep(wanted.lasting(_SETTLE_S))
        more = spending.between(alone, spending.pss_mib(on.beacon))
        before, began = spending.cpu_s(on.beacon), time.monotonic()
        time.sleep(wanted.lasting(20))
        spent = spending.between(before, spending.cpu_s(on.beacon), times=100 / (time.monotonic() - began))
        return {
            "200 scopes, ready, s": on.ready_s,
            **spending.figures("200 scopes, idle CPU, % of a core", spent),
            **spending.figures("200 scopes, PSS above one scope, MiB", more),
        }


def _step(on: stage.Stage, wanted: terms.Terms, rate: int) -> tuple[float, float]:
    """Make changes for a few seconds; return the rate that the load reached, and the p99 in ms."""
    on.until_settled()
    figures = flow.at_rate(on, "step", rate=rate, count=round(rate * wanted.lasting(_STEP_S)))
    return figures["step, made a second"], figures["step, p99, ms"]


def _compared(on: stage.Stage) -> bool:
    return testkit.sample(on.beacon.metrics(), "beacon_reconcile_runs_total", result="complete") >= 1


@contextmanager
def _peaks(on: stage.Stage) -> Iterator[dict[str, float]]:
    """Yield the highest memory of each process, and of all together, of samples taken meanwhile."""
    peaks: dict[str, float] = {"all": 0.0}
    done = threading.Event()

    def work() -> None:
        while not done.wait(_SAMPLE_S):
            now = spending.pss_mib(on.beacon)
            for name, mib in [*now.items(), ("all", sum(now.values()))]:
                peaks[name] = max(peaks.get(name, 0.0), mib)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield peaks
    finally:
        done.set()
        worker.join()
