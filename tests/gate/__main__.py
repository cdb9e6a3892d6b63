"""`make test`: run tiers of tests one after another, and print the time that each took.

Each tier is a separate pytest process, so that each can be run alone. All tiers run, even after a failure.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gate import report, tiers

_REPORTS = tiers.ROOT / ".run" / "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A started pytest process."""

    tier: tiers.Tier
    process: "subprocess.Popen[bytes]"
    began: float
    output: Path | None = None

    def finish(self) -> report.Outcome:
        """Wait for its end, and print its output if it was captured."""
        code = self.process.wait()
        minutes = (time.monotonic() - self.began) / 60
        if self.output is not None:
            sys.stdout.write(self.output.read_text(encoding="utf-8", errors="replace"))
            sys.stdout.flush()
        return report.Outcome(name=self.tier.name, code=code, minutes=minutes, cases=_cases(self.tier))


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
    _REPORTS.mkdir(parents=True, exist_ok=True)
    beside = [_start(plan.tiers[asked.beside], asked.jobs, quiet=True)] if asked.beside else []
    outcomes = [_start(plan.tiers[name], asked.jobs).finish() for name in asked.tier or plan.order]
    outcomes += [run.finish() for run in beside]
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
        words += ["--no-loadscope-reorder"] if tier.dist == "loadfile" else []  # longest first, not most tests first
    return words


def _start(tier: tiers.Tier, jobs: int, *, quiet: bool = False) -> Run:
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
