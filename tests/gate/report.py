"""Report of a run of the gate: minutes for each tier, and the slowest tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

_SLOWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The result of one test; `seconds` include its fixtures."""

    name: str
    seconds: float
    skipped: bool
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a tier; `code` is pytest's exit code."""

    name: str
    code: int
    minutes: float
    cases: Sequence[Case]


def cases(xml: Path) -> list[Case]:
    """Return the tests of a JUnit report; an empty list if pytest failed before it wrote the report."""
    if not xml.exists():
        return []
    return [_case(one) for one in ET.parse(xml).iter("testcase")]


def rendered(outcomes: Sequence[Outcome]) -> str:
    """Render both tables."""
    slowest = sorted((case for outcome in outcomes for case in outcome.cases), key=lambda case: -case.seconds)
    lines = ["", "The slowest tests, in seconds:"]
    lines += [f"{case.seconds:8.1f}  {case.name}" for case in slowest[:_SLOWEST]]
    lines += ["", f"{'tier':<14}{'tests':>7}{'skipped':>9}{'failed':>8}{'minutes':>9}"]
    lines += [_line(outcome) for outcome in outcomes]
    return "\n".join(lines) + "\n"


def _case(one: ET.Element) -> Case:
    return Case(
        name=f"{one.get('classname', '').replace('.', '/')}::{one.get('name', '')}",
        seconds=float(one.get("time", "0")),
        skipped=one.find("skipped") is not None,
        failed=one.find("failure") is not None or one.find("error") is not None,
    )


def _line(outcome: Outcome) -> str:
    skipped = sum(case.skipped for case in outcome.cases)
    failed = sum(case.failed for case in outcome.cases)
    line = f"{outcome.name:<14}{len(outcome.cases):>7}{skipped:>9}{failed:>8}{outcome.minutes:>9.1f}"
    return f"{line}  FAILED" if outcome.code else line
