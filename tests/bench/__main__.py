"""`make bench`: measure Beacon on this machine and compare with the targets.

Nothing is simulated: an API server, Beacon under supervisord, an endpoint. Because machines are noisy, each result is
the median of several runs, and two builds can be compared only by alternating runs.
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
@click.option("--runs", type=click.IntRange(min=1), help="Number of runs of each measurement (default: one or three).")
@click.option(
    "--miniature", is_flag=True, help="Run a small version, to test the benchmark itself; its results are meaningless."
)
@click.option("--json", "write", type=click.Path(path_type=Path), help="Write the results of all runs to this file.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Compare with the Beacon of another checkout in --runs pairs of alternating runs (at least {pairs.LEAST}).",
)
@click.option("--documented", is_flag=True, help="Compare with docs/performance.md.")
@click.option("--profile", type=click.Path(path_type=Path), help="Write a profile at 1000/s to this directory.")
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
    gc.disable()  # the sink runs in this process, and a collection would pause it
    if against and profile:
        raise click.UsageError("--profile measures one build and can't be combined with --against.")
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
        click.echo("This was a miniature with a hundredth of the load; its results are meaningless.")
    if profile and (profile / "profile.txt").exists():
        click.echo((profile / "profile.txt").read_text(encoding="utf-8"))


def _chosen(wanted: terms.Terms, which: tuple[str, ...]) -> dict[str, terms.Measurement]:
    chosen = {name: measurements.ALL[name] for name in which or measurements.ALL}
    for name, one in list(chosen.items()):
        if wanted.kubeconfig and one.embedded:
            click.echo(f"{name} is skipped: {one.embedded}", err=True)
            del chosen[name]
    return chosen


def _compare(
    wanted: terms.Terms, against: Path, chosen: dict[str, terms.Measurement], runs: int | None
) -> tuple[object, str]:
    if runs and runs < pairs.LEAST and not wanted.miniature:
        raise click.UsageError(f"{runs} pairs are not enough: --runs must be {pairs.LEAST} or more.")
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
