"""Comparison of two builds by alternating runs (A B A B), with the harness of this checkout.

Load, endpoint and API server are those of this checkout; only Beacon itself, with its supervisord.conf, is that of the
other build. Rows that call the store's code directly are an exception: each build's own harness measures them, and a
row unknown to it is skipped with a message.
"""

import contextlib
import dataclasses
import gc
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from beacon import codec, errors
from beacon.dev import build as builds
from tests.bench import own, rows, table, terms

Found = dict[str, list[float]]


class Unknown(errors.PermanentError):
    """A build's own harness does not have this row."""


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Results by row: of this build, of the other one, and of the machine before each measurement."""

    this: Found
    other: Found
    machine: Found

    def plain(self) -> dict[str, Found]:
        """Return the results as plain values."""
        return dataclasses.asdict(self)


def compare(wanted: terms.Terms, other: builds.Build, which: Mapping[str, terms.Measurement], times: int) -> Comparison:
    """Run each measurement of `which` in this number of pairs."""
    found = Comparison({}, {}, {})
    with contextlib.ExitStack() as stack:
        sides = [
            (name, collected, stack.enter_context(_side(wanted, build)))
            for name, collected, build in (("other", found.other, other), ("this", found.this, wanted.build))
        ]
        for row, one in which.items():
            _collect(found.machine, _machine(wanted))
            try:
                for number in range(times):
                    for name, collected, side in sides:
                        click.echo(f"{row}, pair {number + 1} of {times}, {name} ...", err=True)
                        _collect(collected, _measured(row, one, side))
            except Unknown as error:
                click.echo(f"{row} is skipped: {error}", err=True)
        _collect(found.machine, _machine(wanted))
    return found


def rendered(found: Comparison, *, this: builds.Build, other: builds.Build) -> str:
    """Return the report: the builds, the measurements of the machine, and the table of ratios."""
    sides = [
        f"{name:<8}{build.root}  {build.revision()}  Python {build.python}"
        for name, build in (("this", this), ("other", other))
    ]
    return "\n".join([*sides, "", table.rendered(found.machine), "", table.compared(found.this, found.other)])


@contextlib.contextmanager
def _side(wanted: terms.Terms, build: builds.Build) -> Iterator[terms.Terms]:
    """Return the terms for this build; a miniature uses one stage for all measurements."""
    mine = dataclasses.replace(wanted, build=build)
    with mine.shared_stage() if wanted.miniature else contextlib.nullcontext(mine) as side:
        yield side


def _measured(row: str, one: terms.Measurement, side: terms.Terms) -> rows.Figures:
    figures = _by_its_own_harness(row, side) if one.inside else one.measure(side)
    gc.collect()
    return figures


def _by_its_own_harness(row: str, side: terms.Terms) -> rows.Figures:
    build = side.build
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [str(build.interpreter), "-m", "tests.bench", row, "--runs", "1", "--json", file.name]
        command += ["--miniature"] if side.miniature else []
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=build.root)
        if done.returncode == click.UsageError.exit_code:
            raise Unknown(f"the harness of {build.root} does not know it")
        if done.returncode:
            raise errors.PermanentError(f"{row} failed in {build.root}: {done.stderr[-2000:]}")
        found: Mapping[str, list[float]] = codec.decode(Path(file.name).read_bytes())
    return {name: figures[0] for name, figures in found.items()}


def _machine(wanted: terms.Terms) -> rows.Figures:
    return own.loop(wanted) | own.disk(wanted) | own.sink(wanted)


def _collect(found: Found, figures: rows.Figures) -> None:
    for row, figure in figures.items():
        found.setdefault(row, []).append(figure)
