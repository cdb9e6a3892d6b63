"""The forms of an answer: aligned text for people, JSON and YAML for programs."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click

from beacon import codec

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
            click.echo(line, color=coloured())
    else:
        click.echo(codec.encode_pretty(plain) if output == "json" else codec.dump_yaml(plain), nl=False)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Align columns below their names; nothing at all without rows."""
    found = [tuple(row) for row in rows]
    if not found:
        return
    widths = [max(map(len, column)) for column in zip(head, *found, strict=True)]
    for number, row in enumerate([tuple(head), *found]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield click.style(line, bold=True) if number == 0 else line


def coloured() -> bool | None:
    """Say what click is to do about colour: False without any, None what the terminal can."""
    return False if os.environ.get("NO_COLOR") else None
