"""Run the test endpoint as a program: `python -m beacon.dev.endpoint --port 8088 --mode random --failure-rate 0.3`.

The first line on standard output is JSON with its `url`; one line for each request follows. It stops on SIGTERM or
SIGINT. Wiring only.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import click

from beacon import codec, errors
from beacon.dev.endpoint import checks, flags, options, server


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@flags.settings
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with settings; flags override it.")
@click.option("--fast", is_flag=True, help="Check only ids and order, not the form: for benchmarks.")
def main(config: Path | None, *, fast: bool, **set_by_flags: Any) -> None:
    """Receive Beacon's events, check and record them."""
    try:
        wanted = {"log": "pretty", **(options.load(config) if config else {})}
        wanted |= {key: value for key, value in set_by_flags.items() if value not in {None, ()}}
        settings = options.parse(wanted | ({"shape": checks.Shape.ANY.value} if fast else {}))
    except errors.ConfigError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        sys.exit(errors.EXIT_CONFIG)
    # Blocked before the server's thread exists, so that only this thread receives the signals.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        sink = server.SinkServer(settings).start()
    except OSError as error:
        sys.stderr.write(f"The test endpoint can't listen on {settings.host}:{settings.port}: {error}\n")
        sys.exit(errors.EXIT_TEMPORARY)
    print(codec.encode({"url": sink.url, "ca": sink.ca_pem.decode()}).decode(), flush=True)
    signal.sigwait(signals)
    sink.close()


if __name__ == "__main__":
    main()
