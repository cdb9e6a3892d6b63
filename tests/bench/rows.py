"""The rows with a target, by name.

docs/performance.md uses the same names; the documented results are looked up by them. Measured rows that are not listed
here have no target, for example the results of single processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Figures = dict[str, float]


class Sense(StrEnum):
    """Whether a bound is an upper or a lower one."""

    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The bound that a row must meet."""

    sense: Sense
    bound: float

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:g}"

    def is_met(self, figure: float) -> bool:
        return figure <= self.bound if self.sense is Sense.AT_MOST else figure >= self.bound


def _at_most(bound: float) -> Target:
    return Target(sense=Sense.AT_MOST, bound=bound)


def _at_least(bound: float) -> Target:
    return Target(sense=Sense.AT_LEAST, bound=bound)


AIMED: Mapping[str, Target] = {
    "backlog of 5000 at start, events/s": _at_least(3000),
    "backlog of 5000 at start, sent more than once": _at_most(0),
    "backlog of 5000 when the endpoint returns, events/s": _at_least(3000),
    "backlog of 5000 when the endpoint returns, sent more than once": _at_most(0),
    "burst of 2000 at 900/s, p99, ms": _at_most(40),
    "steady 17/s, p50, ms": _at_most(3),
    "steady 17/s, p99, ms": _at_most(8),
    "100/s, p50, ms": _at_most(3),
    "100/s, p99, ms": _at_most(8),
    "1000/s, p50, ms": _at_most(10),
    "1000/s, p99, ms": _at_most(50),
    "2000/s for 60 s, p99, ms": _at_most(25),
    "endpoint of 50 ms, concurrency 32, events/s": _at_least(500),
    "endpoint of 50 ms, default settings, events/s": _at_least(90),
    "CPU s per 1000 at 1000/s, all": _at_most(0.6),
    "CPU s per 1000 of the backlog at start, all": _at_most(0.6),
    "idle CPU, % of a core, all": _at_most(0.4),
    "outage of 20 s, 500 waiting, CPU s, all": _at_most(0.3),
    "outage of 20 s, 500 delivered after its end, s": _at_most(3),
    "PSS with nothing tracked, MiB, all": _at_most(180),
    "PSS added by 5000 unannotated + 5000 annotated, MiB, all": _at_most(12),
    "5000 unannotated/s beside 50/s, p99, ms": _at_most(15),
    "5000 unannotated/s beside 50/s, cores, watcher": _at_most(0.35),
    "capacity at a p99 of 50 ms, events/s": _at_least(1500),
    "200 scopes, ready, s": _at_most(10),
    "200 scopes, idle CPU, % of a core, all": _at_most(3),
    "200 scopes, PSS above one scope, MiB, all": _at_most(25),
    "one of three endpoints down, 20,000 waiting: p99 at 500/s, times that without it": _at_most(1.2),
    "catch-up of 100,000 objects, times the backlog rate": _at_least(0.8),
    "catch-up of 100,000 objects beside 50/s: p99, times that without": _at_most(1.5),
    "two endpoints: CPU per 1000 at 500/s, times one": _at_most(1.45),
    "two endpoints: idle PSS, MiB more than one, all": _at_most(3),
    "1,000,000 events: claim, times an empty ledger's": _at_most(1.5),
    "1,000,000 events: status, times an empty ledger's": _at_most(1.5),
    "1,000,000 events: prune, times an empty ledger's": _at_most(1.5),
    "1,000,000 events: start, times an empty ledger's": _at_most(1.5),
    "1,000,000 events: restore, ms": _at_most(60_000),
    "start to ready, empty ledger, s": _at_most(4),
    "start to ready, 5000 tracked, s": _at_most(4),
    "clean restart with everything delivered, sends": _at_most(0),
    "watcher, 20,000 unannotated, MiB more": _at_most(15),
    "write while 100,000 are pruned, p99.9, ms": _at_most(50),
    "write while 100,000 are redelivered, longest, ms": _at_most(50),
    "scrape at 0/s, p50, ms": _at_most(20),
    "scrape at 100/s, p50, ms": _at_most(20),
}
_KILLED = _at_most(3)


def target(row: str) -> Target | None:
    """Return a row's target, or None if it has none."""
    return _KILLED if row.startswith("kill -9 of ") else AIMED.get(row)
