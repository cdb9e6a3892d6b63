"""The command line's flags: one for each setting that a flag can carry, named as in the YAML file, with dashes.

Only their form; what a value may be is decided by `beacon.dev.endpoint.options`, for flags as for files.
"""

from collections.abc import Callable
from typing import Any

import click

_TEXTS = {
    "host": "Address to listen on (127.0.0.1).",
    "mode": "success, failure, random, delay, hang, drip, reset, close.",
    "retry_after": "Seconds, or date+SECONDS for a date.",
    "location": "Where a status of 3xx leads.",
    "body": "Body of a failure.",
    "drip": "headers, body, answer.",
    "token": "Bearer token asked for.",
    "shape": "beacon, cloudevent, any: how much is asked of a body.",
    "cert": "TLS certificate file.",
    "key": "TLS key file.",
    "client_ca": "Authority of the certificates that clients must show.",
    "log": "pretty, json, none.",
}
_NUMBERS = {
    "port": (int, "Port to listen on; 0 takes a free one."),
    "status": (int, "Status of a failure (500)."),
    "success_status": (int, "Status of a success (200)."),
    "failure_rate": (float, "Share of failures in mode random (0.5)."),
    "latency_s": (float, "Seconds before any answer."),
    "delay_s": (float, "Seconds in mode delay (5)."),
    "drip_interval_s": (float, "Seconds between two bytes (0.05)."),
    "keep": (int, "Events kept whole (20000)."),
    "seed": (int, "Makes what is random the same each time."),
}
_SWITCHES = {
    "tls": "TLS with an authority made on the spot, shown as `ca` in the first line.",
    "mutual": "The same, and clients must show a certificate of it.",
}


def settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all these flags; those not used are None."""
    for name, text in _SWITCHES.items():
        command = click.option(_flag(name), name, is_flag=True, default=None, help=text)(command)
    for name, (kind, text) in _NUMBERS.items():
        command = click.option(_flag(name), name, type=kind, help=text)(command)
    for name, text in _TEXTS.items():
        command = click.option(_flag(name), name, callback=_number_or_text, help=text)(command)
    return click.option("--methods", "methods", multiple=True, help="Method allowed; may be repeated (POST).")(command)


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_s").replace("_", "-")


def _number_or_text(_context: click.Context, option: click.Parameter, value: str | None) -> str | float | None:
    """Make a number of what may be either."""
    if option.name == "retry_after" and value is not None and value.isdigit():
        return float(value)
    return value
