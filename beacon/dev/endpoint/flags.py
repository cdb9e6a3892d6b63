"""The command-line flags: one for each scalar setting, named as in the YAML file, with dashes.

It must not validate values; `beacon.dev.endpoint.options` does, for flags and files alike.
"""

from collections.abc import Callable
from typing import Any

import click

_TEXTS = {
    "host": "Address to listen on (127.0.0.1).",
    "mode": "success, failure, random, delay, hang, drip, reset, close.",
    "retry_after": "Seconds, or date+SECONDS for a date.",
    "location": "Location header of a 3xx status.",
    "body": "Body of a failure.",
    "drip": "headers, body, answer.",
    "token": "Bearer token required of clients.",
    "shape": "beacon, cloudevent, any: how strictly a body is checked.",
    "cert": "TLS certificate file.",
    "key": "TLS key file.",
    "client_ca": "CA certificate file; clients must present a certificate that it issued.",
    "log": "pretty, json, none.",
}
_NUMBERS = {
    "port": (int, "Port to listen on; 0 chooses a free port."),
    "status": (int, "Status of a failure (500)."),
    "success_status": (int, "Status of a success (200)."),
    "failure_rate": (float, "Share of failures in mode random (0.5)."),
    "latency_s": (float, "Seconds before any answer."),
    "delay_s": (float, "Seconds in mode delay (5)."),
    "drip_interval_s": (float, "Seconds between two bytes (0.05)."),
    "keep": (int, "Events kept completely (20000)."),
    "seed": (int, "Seed of the random numbers, for reproducible runs."),
}
_SWITCHES = {
    "tls": "TLS with a generated CA, printed as `ca` in the first line.",
    "mutual": "The same, and clients must present a certificate of that CA.",
}


def settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all these flags to a command; the value of an unused flag is None."""
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
    """Return a number for a retry_after of digits, and any other value unchanged."""
    if option.name == "retry_after" and value is not None and value.isdigit():
        return float(value)
    return value
