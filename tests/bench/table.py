"""The tables: medians with least and most, what is to be reached, what is documented; and two builds by ratio."""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import pairs, rows

Found = Mapping[str, Sequence[float]]
DOCUMENTED = Path(__file__).parents[2] / "docs" / "performance.md"
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def rendered(found: Found, *, documented: Mapping[str, str] | None = None) -> str:
    """Render what was found; `documented` has the figures of a page, by row."""
    wide = max([44, *map(len, found)]) + 1
    head = f"{'measure':<{wide}}{'median':>10}{'min':>10}{'max':>10}{'to reach':>10}"
    head += f"  {'documented':>12}{'times':>7}" if documented is not None else ""
    lines = [head.rstrip()]
    for row, figures in found.items():
        median, target = statistics.median(figures), rows.target(row)
        line = f"{row:<{wide}}{median:>10.2f}{min(figures):>10.2f}{max(figures):>10.2f}{target or ''!s:>10}"
        if documented is not None:
            line += f"  {_shown(said := _number(documented.get(row, ''))):>12}{_times(median, said):>7}"
        lines.append(line.rstrip() + ("" if target is None or target.is_met(median) else "  NOT MET"))
    return "\n".join(lines)


def compared(this: Found, other: Found) -> str:
    """Render the medians of two builds, and for each row how many times the other build's figure this build's is."""
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
    """Give what a page's table says was found, by row."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 3 and not set(cells[0]) <= set("- :"):
            found[cells[0]] = cells[1]
    return found


def _number(said: str) -> float | None:
    """Read the first number of what is documented; what has none was not measured."""
    first = _NUMBER.search(said)
    return float(first.group()) if first else None


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def _times(figure: float, before: float | None) -> str:
    return f"{figure / before:.2f}" if before else "-"
