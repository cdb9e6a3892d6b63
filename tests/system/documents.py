"""The shell blocks of the project's pages, and which of them can't run without a cluster."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_SHELL = {"sh", "bash", "shell", "console"}
_MARK = re.compile(r"<!-- needs [^>]+ -->")


@dataclass(frozen=True)
class Block:
    """A shell block; it is `marked` if the line before it states a requirement that tests can't meet."""

    page: Path
    line: int
    text: str
    marked: bool

    def __str__(self) -> str:
        """Return its position as path:line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the shell blocks of a page."""
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    opened = 0
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("```"):  # a block within a list is indented
            continue
        if not opened:
            opened = number
            continue
        if lines[opened - 1].strip().removeprefix("```").strip() in _SHELL:
            before = lines[opened - 2] if opened > 1 else ""
            text = textwrap.dedent("\n".join(lines[opened : number - 1]))
            found.append(Block(page, opened, text, marked=_MARK.fullmatch(before.strip()) is not None))
        opened = 0
    return found
