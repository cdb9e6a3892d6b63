"""The table: medians with least and most, what is to be reached, what was found before, and what is documented."""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import rows

Found = Mapping[str, Sequence[float]]
DOCUMENTED = Path(__file__).parents[2] / "docs" / "performance.md"
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def rendered(found: Found, *, against: Found | None = None, documented: Mapping[str, str] | None = None) -> str:
    """Render what was found; `against` is an earlier run, `documented` the figures of a page, by row."""
    wide = max([44, *map(len, found)]) + 1
    head = f"{'measure':<{wide}}{'median':>10}{'min':>10}{'max':>10}{'to reach':>10}"
    head += f"{'before':>10}{'times':>7}" if against is not None else ""
    head += f"  {'documented':>12}{'times':>7}" if documented is not None else ""
    lines = [head.rstrip()]
    for row, figures in found.items():
        median, target = statistics.median(figures), rows.target(row)
        line = f"{row:<{wide}}{median:>10.2f}{min(figures):>10.2f}{max(figures):>10.2f}{target or ''!s:>10}"
        if against is not None:
            before = statistics.median(against[row]) if against.get(row) else None
            line += f"{_shown(before):>10}{_times(median, before):>7}"
        if documented is not None:
            line += f"  {_shown(said := _number(documented.get(row, ''))):>12}{_times(median, said):>7}"
        lines.append(line.rstrip() + ("" if target is None or target.is_met(median) else "  NOT MET"))
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
