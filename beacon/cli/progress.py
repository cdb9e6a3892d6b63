"""Shows the progress of long work on standard error: a bar on a terminal, elsewhere a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from beacon.cli import terminal

_INTERVAL_S = 5.0
Show = Callable[[int, int], None]  # called with the number of units that are done, and with the total


@contextmanager
def progress(label: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Yield a function that shows how much of some work is done; work of a few seconds prints no line."""
    with ExitStack() as stack:
        yield _bar(label, stack) if sys.stderr.isatty() else _lines(label, clock)


def _bar(label: str, stack: ExitStack) -> Show:
    bars: list[Any] = []  # at most one: the total is unknown before the first call

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(stack.enter_context(click.progressbar(length=total, label=label, file=sys.stderr)))
        (bar,) = bars
        bar.length = total
        bar.update(done - bar.pos)

    return show


def _lines(label: str, clock: Callable[[], float]) -> Show:
    shown_at = clock()

    def show(done: int, total: int) -> None:
        nonlocal shown_at
        if clock() - shown_at >= _INTERVAL_S:
            shown_at = clock()
            terminal.print_line(f"{label}: {done / max(1, total):.0%}", err=True)

    return show
