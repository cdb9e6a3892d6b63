"""CPU profiles of all processes, by function and by line."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from beacon import codec
from beacon.dev import testkit

_SAMPLING = Path(__file__).parent / "sampling"
_WITHIN_S = 10.0
_TOP = 12


def environ(wanted: Path | None) -> dict[str, str]:
    """Return the environment in which every process samples itself; empty without a profile."""
    if wanted is None:
        return {}
    paths = (str(_SAMPLING), os.environ.get("PYTHONPATH", ""))
    return {"BENCH_PROFILE": str(wanted), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def taken(wanted: Path | None, beacon: testkit.Beacon) -> Iterator[None]:
    """Profile all processes while the context is open; do nothing without a directory."""
    if wanted is None:
        yield
        return
    for old in wanted.glob("*.json"):
        old.unlink()
    before = _times(beacon)
    (wanted / "go").touch()
    yield
    (wanted / "go").unlink()
    after = _times(beacon)
    names = {f"{name}.{pid}.json" for name, pid in beacon.pids().items()}
    testkit.until(lambda: names <= {path.name for path in _found(wanted)}, "the profiles", timeout=_WITHIN_S)
    text = [_shown(path, before, after) for path in sorted(_found(wanted))]
    (wanted / "profile.txt").write_text("\n".join(text), encoding="utf-8")


def _found(wanted: Path) -> list[Path]:
    return list(wanted.glob("*.json"))


def _times(beacon: testkit.Beacon) -> dict[str, tuple[float, float]]:
    return {name: psutil.Process(pid).cpu_times()[:2] for name, pid in beacon.pids().items()}


def _shown(path: Path, before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]) -> str:
    found = codec.decode(path.read_bytes())
    name, spent = found["process"], found["spent"]
    user, system = (after[name][which] - before[name][which] for which in (0, 1))
    functions: Counter[str] = Counter()
    for place, seconds in spent.items():
        where, _, function = place.partition(" ")
        functions[f"{where.rpartition(':')[0]} {function}".strip()] += seconds
    lines = [f"{name}: {user:.2f} s user, {system:.2f} s system"]
    lines += [*_ranked("by function", functions), *_ranked("by line", Counter(spent))]
    return "\n".join(lines) + "\n"


def _ranked(title: str, spent: "Counter[str]") -> list[str]:
    whole_s = sum(spent.values()) or 1.0
    return [f"  {title}"] + [f"    {100 * one / whole_s:5.1f} %  {place}" for place, one in spent.most_common(_TOP)]
