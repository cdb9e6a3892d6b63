"""Processor time and memory of the processes, by name, including supervisord."""

from collections.abc import Mapping

import psutil

from beacon.dev import testkit
from tests.bench import rows

Spent = Mapping[str, float]


def cpu_s(beacon: testkit.Beacon) -> dict[str, float]:
    """Return the processor time of each process so far, user and system."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in beacon.pids().items()}
    return {name: spent.user + spent.system for name, spent in times.items()}


def pss_mib(beacon: testkit.Beacon) -> dict[str, float]:
    """Return the proportional set size of each process."""
    return {
        name: float(psutil.Process(pid).memory_full_info().pss) / 2**20 for name, pid in sorted(beacon.pids().items())
    }


def between(before: Spent, after: Spent, *, times: float = 1.0) -> dict[str, float]:
    """Return the difference by process; for a new process, its total."""
    return {name: (spent - before.get(name, 0.0)) * times for name, spent in sorted(after.items())}


def figures(measure: str, spent: Spent) -> rows.Figures:
    """Return a row for each process, and one for their sum."""
    return {f"{measure}, all": sum(spent.values())} | {f"{measure}, {name}": one for name, one in spent.items()}
