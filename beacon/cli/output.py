"""The forms of an answer: aligned text for people, JSON and YAML for programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click

from beacon.cli import terminal

FORMS = ("table", "json", "yaml")


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `-o`, as parameter `output`."""
    return click.option(
        "-o", "--output", type=click.Choice(FORMS), default="table", show_default=True, help="Form of the answer."
    )(command)


def show(output: str, plain: Any, lines: Iterable[str]) -> None:
    """Print an answer: `plain` values for programs, or `lines` for people."""
    if output == "table":
        for line in lines:
            terminal.say(line)
    else:
        terminal.document(output, plain)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Align columns below their names; nothing at all without rows."""
    found = [tuple(row) for row in rows]
    if not found:
        return
    widths = [max(map(len, column)) for column in zip(head, *found, strict=True)]
    for number, row in enumerate([tuple(head), *found]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield terminal.styled(line, bold=True) if number == 0 else line
