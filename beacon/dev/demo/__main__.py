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
@click.option("--context", default="", help="Context of the kubeconfig; only with --config.")
@click.option(
    "--endpoint",
    type=click.Choice(["config", "test"]),
    default="config",
    help="Receiver of the events: the configured endpoint or a test endpoint.",
)
@click.option("--once", is_flag=True, help="End after the tour instead of staying until Ctrl-C.")
def main(config: Path | None, kubeconfig: str | None, context: str, endpoint: str, *, once: bool) -> None:
    """Show Beacon delivering events, by itself or on a cluster, until Ctrl-C."""
    asked = environment.StopRequest()
    asked.install()
    shown = console.Console(sys.stdout)
    if (kubeconfig or context) and not config:
        raise click.UsageError("--kubeconfig and --context require --config; the demo's own cluster has neither")
    wanted = scenario.DemoOptions(
        config=config.expanduser() if config else None,
        kubeconfig=kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config",
        context=context,
        # `make run ENDPOINT=test` passes it as an environment variable.
        test_endpoint="test" in (endpoint, os.environ.get("ENDPOINT")),
        once=once,
    )
    try:
        code = scenario.run(wanted, asked, shown)
    except BrokenPipeError:  # the reader of the output has gone; leaving the contexts has stopped all processes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = errors.EXIT_FAILURE
    sys.exit(code)


if __name__ == "__main__":
    main()
