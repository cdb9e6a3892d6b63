"""`make bench`: what Beacon does on this machine, against the figures that it is to reach.

Everything real: an API server, Beacon under supervisord, an endpoint. Machines are noisy: each figure is the median of
several runs, and two builds can be compared only by runs that took turns.
"""

import contextlib
import dataclasses
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from beacon import codec
from tests.bench import measurements, table, terms

_REAL = "BEACON_TEST_KUBECONFIG"
_MINIATURE = 0.01


@click.command()
@click.argument("which", nargs=-1, type=click.Choice([*measurements.ALL]))
@click.option("--runs", type=click.IntRange(min=1), help="How often each is measured; else once or three times.")
@click.option("--miniature", is_flag=True, help="All small, on one stage: shows that it works, figures mean nothing.")
@click.option("--json", "write", type=click.Path(path_type=Path), help="Write the figures of all runs here.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Compare with such a file.")
@click.option("--documented", is_flag=True, help="Compare with docs/performance.md.")
@click.option("--profile", type=click.Path(path_type=Path), help="Put where the time goes at 1000/s into here.")
def main(
    *,
    which: tuple[str, ...],
    runs: int | None,
    miniature: bool,
    write: Path | None,
    against: Path | None,
    profile: Path | None,
    documented: bool,
) -> None:
    """Measure WHICH rows (default: all) and print a table."""
    gc.disable()  # the sink lives here, and would halt for as long as a collection takes
    real = os.environ.get(_REAL)
    if profile:
        profile.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench") as shelf:
        wanted = terms.Terms(
            shelf=Path(shelf),
            scale=_MINIATURE if miniature else 1.0,
            kubeconfig=Path(real).absolute() if real else None,
            profile=profile.absolute() if profile else None,
        )
        with _shared(wanted) if miniature else contextlib.nullcontext(wanted) as terms_:
            found = _measure(terms_, which or tuple(measurements.ALL), runs)
    if write:
        write.write_bytes(codec.encode_pretty(found))
    click.echo(
        table.rendered(
            found,
            against=codec.decode(against.read_bytes()) if against else None,
            documented=table.parsed(table.DOCUMENTED.read_text(encoding="utf-8")) if documented else None,
        )
    )
    if miniature:
        click.echo("Everything was a hundredth of what the rows say, on one stage: these figures mean nothing.")
    if profile and (profile / "profile.txt").exists():
        click.echo((profile / "profile.txt").read_text(encoding="utf-8"))


@contextlib.contextmanager
def _shared(wanted: terms.Terms) -> Iterator[terms.Terms]:
    """Let everything happen on one stage."""
    with wanted.stage() as on:
        yield dataclasses.replace(wanted, shared=on)


def _measure(wanted: terms.Terms, which: tuple[str, ...], runs: int | None) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name in which:
        one = measurements.ALL[name]
        if wanted.kubeconfig and one.embedded:
            click.echo(f"{name} is left out: {one.embedded}", err=True)
            continue
        times = runs or one.times
        for number in range(times):
            click.echo(f"{name}, run {number + 1} of {times} ...", err=True)
            for row, figure in one.measure(wanted).items():
                found.setdefault(row, []).append(figure)
            gc.collect()
    return found


if __name__ == "__main__":
    sys.exit(main())
