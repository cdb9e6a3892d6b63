"""`make bench`: what Beacon does on this machine, against the figures that it is to reach.

Everything real: an API server, Beacon under supervisord, an endpoint. Machines are noisy: each figure is the median of
several runs, and two builds can be compared only by runs that took turns.
"""

import contextlib
import gc
import os
import sys
import tempfile
from pathlib import Path

import click

from beacon import codec, errors
from beacon.dev import build as builds
from tests.bench import comparison, measurements, pairs, table, terms

_REAL = "BEACON_TEST_KUBECONFIG"
_MINIATURE = 0.01


@click.command()
@click.argument("which", nargs=-1, type=click.Choice([*measurements.ALL]))
@click.option("--runs", type=click.IntRange(min=1), help="How often each is measured; else once or three times.")
@click.option("--miniature", is_flag=True, help="All small, on one stage: shows that it works, figures mean nothing.")
@click.option("--json", "write", type=click.Path(path_type=Path), help="Write the figures of all runs here.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Compare with the Beacon of another checkout, in --runs pairs of runs in turn ({pairs.LEAST} or more).",
)
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
    if against and profile:
        raise click.UsageError("--profile is of one build: it can't be had together with --against.")
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
        chosen = _chosen(wanted, which)
        if against:
            plain, shown = _compare(wanted, against, chosen, runs)
        else:
            plain, shown = _measure(wanted, chosen, runs, documented=documented)
    if write:
        write.write_bytes(codec.encode_pretty(plain))
    click.echo(shown)
    if miniature:
        click.echo("Everything was a hundredth of what the rows say, on one stage: these figures mean nothing.")
    if profile and (profile / "profile.txt").exists():
        click.echo((profile / "profile.txt").read_text(encoding="utf-8"))


def _chosen(wanted: terms.Terms, which: tuple[str, ...]) -> dict[str, terms.Measurement]:
    chosen = {name: measurements.ALL[name] for name in which or measurements.ALL}
    for name, one in list(chosen.items()):
        if wanted.kubeconfig and one.embedded:
            click.echo(f"{name} is left out: {one.embedded}", err=True)
            del chosen[name]
    return chosen


def _compare(
    wanted: terms.Terms, against: Path, chosen: dict[str, terms.Measurement], runs: int | None
) -> tuple[object, str]:
    if runs and runs < pairs.LEAST and not wanted.miniature:
        raise click.UsageError(f"{runs} pairs say nothing: --runs must be {pairs.LEAST} or more.")
    try:
        other = builds.of(against)
    except errors.StartError as error:
        raise click.ClickException(str(error)) from error
    found = comparison.compare(wanted, other, chosen, runs or pairs.LEAST)
    return found.plain(), comparison.rendered(found, this=wanted.build, other=other)


def _measure(
    wanted: terms.Terms, chosen: dict[str, terms.Measurement], runs: int | None, *, documented: bool
) -> tuple[object, str]:
    found: dict[str, list[float]] = {}
    with wanted.shared_stage() if wanted.miniature else contextlib.nullcontext(wanted) as on:
        for name, one in chosen.items():
            times = runs or one.times
            for number in range(times):
                click.echo(f"{name}, run {number + 1} of {times} ...", err=True)
                for row, figure in one.measure(on).items():
                    found.setdefault(row, []).append(figure)
                gc.collect()
    page = table.parsed(table.DOCUMENTED.read_text(encoding="utf-8")) if documented else None
    return found, table.rendered(found, documented=page)


if __name__ == "__main__":
    sys.exit(main())
