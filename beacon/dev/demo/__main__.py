"""Run the demo: `python -m beacon.dev.demo`, or with `--config` and `--kubeconfig` on a cluster. Wiring only."""

import os
import sys
from pathlib import Path

import click

from beacon import errors
from beacon.dev.demo import console, environment, scenario


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="Beacon's YAML file: run on a real cluster.")
@click.option("--kubeconfig", help="Which cluster ($KUBECONFIG, else ~/.kube/config); only with --config.")
@click.option("--endpoint", type=click.Choice(["config", "test"]), default="config", help="Who is told.")
@click.option("--once", is_flag=True, help="End after the tour instead of staying until Ctrl-C.")
def main(config: Path | None, kubeconfig: str | None, endpoint: str, *, once: bool) -> None:
    """Show Beacon delivering events, by itself or on a cluster, until Ctrl-C."""
    asked = environment.Asked()
    asked.install()
    shown = console.Screen(sys.stdout)
    if kubeconfig and not config:
        raise click.UsageError("--kubeconfig goes with --config: without them the demo brings its own cluster")
    wanted = scenario.ExpectedEvent(
        config=config.expanduser() if config else None,
        kubeconfig=kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config",
        # `make run ENDPOINT=test` comes as a variable of the environment.
        test_endpoint="test" in (endpoint, os.environ.get("ENDPOINT")),
        once=once,
    )
    try:
        code = scenario.play(wanted, asked, shown)
    except BrokenPipeError:  # nobody reads any more; everything has been ended on the way here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = errors.EXIT_FAILURE
    sys.exit(code)


if __name__ == "__main__":
    main()
