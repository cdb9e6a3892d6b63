"""`make test`: run tiers of tests, and print the time that each took.

Each tier is a separate pytest process, so that each can be run alone. All tiers run, even after a failure. The tiers
that mostly wait run beside the others; their output is kept and printed between two tiers, so that none is interleaved.
"""

import argparse
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gate import report, tiers

_REPORTS = tiers.ROOT / ".run" / "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A started pytest process; `output` is the file with its output, unless it writes to this terminal."""

    tier: tiers.Tier
    process: "subprocess.Popen[bytes]"
    began: float
    output: Path | None = None

    def wait(self) -> report.Outcome:
        """Wait for its end."""
        code = self.process.wait()
        minutes = (time.monotonic() - self.began) / 60
        return report.Outcome(name=self.tier.name, code=code, minutes=minutes, cases=_cases(self.tier))

    def show(self) -> None:
        """Print its output if it was captured."""
        if self.output is not None:
            sys.stdout.write(f"\n{f' {self.tier.name}, which ran beside ':=^80}\n")
            sys.stdout.write(self.output.read_text(encoding="utf-8", errors="replace"))
            sys.stdout.flush()


class Lane:
    """Tiers that run one after another beside the others."""

    def __init__(self, names: Sequence[tiers.Tier], jobs: int) -> None:
        """Start the first."""
        self._ended: list[tuple[Run, report.Outcome]] = []
        self._shown = 0
        self._thread = threading.Thread(target=self._run, args=(names, jobs), daemon=True)
        self._thread.start()

    def show(self) -> None:
        """Print the output of the tiers that have ended since the last call."""
        for run, _ in self._ended[self._shown :]:
            run.show()
            self._shown += 1

    def outcomes(self) -> list[report.Outcome]:
        """Wait for the end of all, print the rest of their output, and return their results."""
        self._thread.join()
        self.show()
        return [outcome for _, outcome in self._ended]

    def _run(self, names: Sequence[tiers.Tier], jobs: int) -> None:
        for tier in names:
            run = _start(tier, jobs, quiet=True)
            self._ended.append((run, run.wait()))


def main(words: Sequence[str]) -> int:
    """Run the tiers of the command line."""
    plan = tiers.read()
    parser = argparse.ArgumentParser(prog="python -m tests.gate")
    parser.add_argument("tier", nargs="*", help="default: the whole gate")
    parser.add_argument("--beside", choices=[*plan.tiers], help="a tier to run concurrently with the others")
    parser.add_argument("--jobs", type=int, default=cores(), help="number of cores to use (default: all)")
    asked = parser.parse_args(words)
    if unknown := set(asked.tier) - set(plan.tiers):
        parser.error(f"unknown tier: {', '.join(sorted(unknown))} (known: {', '.join(plan.tiers)})")
    aside = [[asked.beside] if asked.beside else [], [] if asked.tier else [*plan.beside]]
    lanes = [Lane([plan.tiers[name] for name in names], asked.jobs) for names in aside if names]
    outcomes = []
    for name in asked.tier or plan.order:
        outcomes.append(_start(plan.tiers[name], asked.jobs).wait())
        for lane in lanes:
            lane.show()
    for lane in lanes:
        outcomes += lane.outcomes()
    sys.stdout.write(report.rendered(outcomes))
    return 1 if any(outcome.code for outcome in outcomes) else 0


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def command(tier: tiers.Tier, jobs: int) -> list[str]:
    """Return the pytest command of a tier for this number of cores."""
    if tier.interpreters == "all":
        return [sys.executable, "-m", "tests.interpreters", "--reports", str(_REPORTS)]
    words = [sys.executable, "-m", "pytest", *tier.paths, f"--junit-xml={_xml(tier)}"]
    if tier.marks:
        words += ["-m", tier.marks]
    if tier.workers:
        words += ["-n", str(math.ceil(tier.workers * jobs)), "--dist", tier.dist]
        words += ["--no-loadscope-reorder"] if tier.dist != "load" else []  # longest first, not most tests first
    return words


def _start(tier: tiers.Tier, jobs: int, *, quiet: bool = False) -> Run:
    _REPORTS.mkdir(parents=True, exist_ok=True)
    for old in _REPORTS.glob(f"{tier.name}*.xml"):
        old.unlink()
    output = _REPORTS / f"{tier.name}.log" if quiet else None
    began = time.monotonic()
    if output is None:
        return Run(tier=tier, process=subprocess.Popen(command(tier, jobs), cwd=tiers.ROOT), began=began)
    with output.open("wb") as file:
        process = subprocess.Popen(command(tier, jobs), cwd=tiers.ROOT, stdout=file, stderr=subprocess.STDOUT)
    return Run(tier=tier, process=process, began=began, output=output)


def _cases(tier: tiers.Tier) -> list[report.Case]:
    """Return the tests in the tier's reports: one report, or one for each interpreter."""
    return [case for path in sorted(_REPORTS.glob(f"{tier.name}*.xml")) for case in report.cases(path)]


def _xml(tier: tiers.Tier) -> Path:
    return _REPORTS / f"{tier.name}.xml"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
