"""What processes spend: processor time and memory, by name, supervisord's own included."""

from collections.abc import Mapping

import psutil

from beacon.dev import testkit
from tests.bench import rows

Spent = Mapping[str, float]


def cpu_s(beacon: testkit.Beacon) -> dict[str, float]:
    """Give the processor time of each process so far, user and system."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in beacon.pids().items()}
    return {name: spent.user + spent.system for name, spent in times.items()}


def pss_mib(beacon: testkit.Beacon) -> dict[str, float]:
    """Give each process' proportional share of memory."""
    return {
        name: float(psutil.Process(pid).memory_full_info().pss) / 2**20 for name, pid in sorted(beacon.pids().items())
    }


def between(before: Spent, after: Spent, *, times: float = 1.0) -> dict[str, float]:
    """Give the difference; a process that is new has spent all it has."""
    return {name: (spent - before.get(name, 0.0)) * times for name, spent in sorted(after.items())}


def figures(measure: str, spent: Spent) -> rows.Figures:
    """Name a figure for each process, and their sum."""
    return {f"{measure}, all": sum(spent.values())} | {f"{measure}, {name}": one for name, one in spent.items()}
