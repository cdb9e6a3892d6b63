"""Where the commands' answers leave: every text is made visible first, so that nothing in it acts on the terminal.

Names, annotations and the answers of endpoints are written by others: escape sequences, characters that turn the
reading direction around and line feeds within a line are shown escaped. JSON and YAML keep their values.
"""

import os
from typing import Any

import click

from beacon import codec
from beacon.boundary import visible
from beacon.codec import documents


class Styled(str):
    """A line that is safe already, with the escape sequences of our own style."""

    __slots__ = ()


def say(line: str = "", *, err: bool = False) -> None:
    """Print one line; line feeds before it are blank lines."""
    text = line.lstrip("\n")
    blank = "\n" * (len(line) - len(text))
    click.echo(line if isinstance(line, Styled) else blank + visible.escaped(text), err=err, color=coloured())


def styled(line: str, **style: Any) -> Styled:
    """Return a line with a style (see `click.style`); line feeds before it are kept."""
    text = line.lstrip("\n")
    return Styled("\n" * (len(line) - len(text)) + click.style(visible.escaped(text), **style))


def document(form: str, plain: Any, *, err: bool = False) -> None:
    """Print plain values as JSON or YAML."""
    if form == "json":
        click.echo(visible.escaped_json(codec.encode_pretty(plain).decode()), nl=False, err=err)
        return
    text = documents.dump(plain)
    click.echo(text if visible.is_safe(text) else documents.dump(plain, ascii_only=True), nl=False, err=err)


def json_line(plain: Any) -> None:
    """Print plain values as JSON on one line."""
    click.echo(visible.escaped_json(codec.encode(plain).decode()))


def coloured() -> bool | None:
    """Return what click is to do about colour: False without any, None what the terminal can."""
    return False if os.environ.get("NO_COLOR") else None
