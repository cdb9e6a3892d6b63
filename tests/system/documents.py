"""The project's pages as tests see them: their shell blocks, and which of them can't be run without a cluster."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_SHELL = {"sh", "bash", "shell", "console"}
_MARK = re.compile(r"<!-- needs [^>]+ -->")


@dataclass(frozen=True)
class Block:
    """A shell block; `marked` says that the line before it says what it needs that no test has."""

    page: Path
    line: int
    text: str
    marked: bool

    def __str__(self) -> str:
        """Name it as an editor would."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Find the shell blocks of a page."""
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    opened = 0
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            continue
        if not opened:
            opened = number
            continue
        if lines[opened - 1].removeprefix("```").strip() in _SHELL:
            before = lines[opened - 2] if opened > 1 else ""
            text = "\n".join(lines[opened : number - 1])
            found.append(Block(page, opened, text, marked=_MARK.fullmatch(before.strip()) is not None))
        opened = 0
    return found
