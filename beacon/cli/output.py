"""The output formats of an answer: aligned text for people, JSON and YAML for programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import click

from beacon.cli import terminal

FORMS = ("table", "json", "yaml")


def option(command: Callable[..., object]) -> Callable[..., object]:
    """Add the option `-o` to a command, as parameter `output`."""
    return click.option(
        "-o", "--output", type=click.Choice(FORMS), default="table", show_default=True, help="Output format."
    )(command)


def show(form: str, plain: object, lines: Iterable[str]) -> None:
    """Print an answer: `plain` values for programs, or `lines` for people."""
    if form == "table":
        for line in lines:
            terminal.print_line(line)
    else:
        terminal.document(form, plain)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Align columns below their names; yield nothing if there are no rows."""
    cells = [tuple(row) for row in rows]
    if not cells:
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for number, row in enumerate([tuple(head), *cells]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield terminal.styled(line, bold=True) if number == 0 else line
