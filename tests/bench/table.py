"""The printed tables: medians with minimum and maximum, targets and documented results; ratios of two builds."""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import pairs, rows

Found = Mapping[str, Sequence[float]]
DOCUMENTED = Path(__file__).parents[2] / "docs" / "performance.md"
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def rendered(found: Found, *, documented: Mapping[str, str] | None = None) -> str:
    """Return the table of the results; `documented` has those of docs/performance.md, by row."""
    wide = max([44, *map(len, found)]) + 1
    head = f"{'measure':<{wide}}{'median':>10}{'min':>10}{'max':>10}{'to reach':>10}"
    head += f"  {'documented':>12}{'times':>7}" if documented is not None else ""
    lines = [head.rstrip()]
    for row, figures in found.items():
        median, target = statistics.median(figures), rows.target(row)
        line = f"{row:<{wide}}{median:>10.2f}{min(figures):>10.2f}{max(figures):>10.2f}{target or ''!s:>10}"
        if documented is not None:
            line += f"  {_shown(known := _number(documented.get(row, ''))):>12}{_times(median, known):>7}"
        lines.append(line.rstrip() + ("" if target is None or target.is_met(median) else "  NOT MET"))
    return "\n".join(lines)


def compared(this: Found, other: Found) -> str:
    """Return the table of two builds: medians, and for each row the ratio of this build to the other."""
    wide = max([44, *map(len, this), *map(len, other)]) + 1
    lines = [f"{'measure':<{wide}}{'other':>10}{'this':>10}{'times':>8}{'least':>8}{'most':>8}{'pairs':>7}"]
    for row in dict.fromkeys([*other, *this]):
        figures = [_shown(statistics.median(found[row]) if row in found else None) for found in (other, this)]
        one = pairs.ratio(this.get(row, ()), other.get(row, ()))
        shown = [f"{figure:.2f}" for figure in (one.median, one.least, one.most)] if one else ["-"] * 3
        line = f"{row:<{wide}}{figures[0]:>10}{figures[1]:>10}{shown[0]:>8}{shown[1]:>8}{shown[2]:>8}"
        lines.append(f"{line}{one.count if one else 0:>7}")
    return "\n".join(lines)


def parsed(page: str) -> dict[str, str]:
    """Return the results in a page's table, by row."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 3 and not set(cells[0]) <= set("- :"):
            found[cells[0]] = cells[1]
    return found


def _number(text: str) -> float | None:
    """Return the first number of a documented result; None if it has none."""
    first = _NUMBER.search(text)
    return float(first.group()) if first else None


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def _times(figure: float, before: float | None) -> str:
    return f"{figure / before:.2f}" if before else "-"
