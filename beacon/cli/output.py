"""The output formats of an answer: aligned text for people, JSON and YAML for programs.

Every command that prints values takes the same formats. `wide` is a table with more columns where there are any.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import click

from beacon.cli import terminal

FORMS = ("table", "wide", "json", "yaml")
_FORMER = {"text": "table"}  # deprecated names

_Command = TypeVar("_Command", bound=Callable[..., object])


class _Form(click.Choice[str]):
    """An output format; a former name is accepted, but neither shown nor completed."""

    def __init__(self) -> None:
        super().__init__(FORMS)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the format for a word."""
        return super().convert(_FORMER.get(str(value), value), param, ctx)


def option(command: _Command) -> _Command:
    """Add the option `-o` to a command, as parameter `output`."""
    return _option("table")(command)


def document_option(command: _Command) -> _Command:
    """Add the option `-o` to a command that prints a document, as parameter `output`; the default is YAML."""
    return _option("yaml")(command)


def is_table(form: str) -> bool:
    """Return True if the output is for people."""
    return form in ("table", "wide")


def show(form: str, plain: object, lines: Iterable[str]) -> None:
    """Print an answer: `plain` values for programs, or `lines` for people."""
    if is_table(form):
        for line in lines:
            terminal.print_line(line)
    else:
        terminal.document(form, plain)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> Iterator[str]:
    """Align columns below their names, those in `numbers` to the right; yield nothing if there are no rows."""
    cells = [tuple(row) for row in rows]
    if not cells:
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for number, row in enumerate([tuple(head), *cells]):
        line = aligned(row, widths, tuple(name in numbers for name in head))
        yield terminal.styled(line, bold=True) if number == 0 else line


def aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """Return one line of a table."""
    cells = zip(row, widths, right, strict=True)
    return "  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in cells).rstrip()


class Stream:
    """Prints values one by one: as rows of a table, as JSON on one line each, or as documents of YAML."""

    def __init__(self, form: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Use columns that are wide enough for `rows`; a longer cell shifts the rest of its line."""
        self._form = form
        self._widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        if is_table(form):
            terminal.print_line(terminal.styled(self._line(head), bold=True))

    def show(self, plain: object, row: Sequence[str]) -> None:
        """Print one value, and let its reader see it at once."""
        if is_table(self._form):
            terminal.print_line(self._line(row))
        elif self._form == "json":
            terminal.json_line(plain)
        else:
            terminal.print_line("---")
            terminal.document("yaml", plain)

    def _line(self, row: Sequence[str]) -> str:
        return aligned(row, self._widths, (False,) * len(self._widths))


def _option(default: str) -> Callable[[_Command], _Command]:
    return click.option("-o", "--output", type=_Form(), default=default, show_default=True, help="Output format.")
