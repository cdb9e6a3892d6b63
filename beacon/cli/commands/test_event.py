"""`beacon test-event`: whether the endpoint takes what Beacon sends, and if not, why not, in words."""

import os
import subprocess
import sys
from typing import Any

import click

from beacon import codec, errors, wire
from beacon.cli import output, store_client

_EPILOG = """
\b
Examples:
  beacon test-event
  beacon test-event -o json | jq .code

\b
Exit codes: 0 accepted (2xx), 1 not accepted or no answer, 2 wrong use, 69 the store does not answer.
"""
_PATIENCE_S = 5.0
_MEANINGS = {
    "": "Nothing was sent.",
    "network": "There was no connection: the name, the address, the port, or a network policy.",
    "tls": "TLS failed: look at endpoint.tls, and at the endpoint's certificate.",
    "timeout": "There was no complete answer within endpoint.timeout.",
    "400": "The endpoint does not understand the request.",
    "401": "The endpoint does not know the token, or there is none: look at ENDPOINT_AUTH_TOKEN and its file.",
    "403": "The endpoint knows the token and does not let it do this.",
    "404": "Nothing is at this path: look at endpoint.url.",
    "405": "The endpoint does not take this method: look at endpoint.method.",
    "415": "The endpoint does not take application/cloudevents+json.",
    "429": "The endpoint asks for fewer requests.",
}


@click.command("test-event", epilog=_EPILOG)
@output.option
def command(output: str) -> None:
    """Send one marked event on the notifier's own way, and say what the endpoint answered.

    Method, headers, token, TLS files, proxy and deadline are those of the running Beacon. The event's type ends in
    `.test` and it says `test: true`; it is about no object, and the ledger does not know it.
    """
    with store_client.store() as client:
        welcome = client.try_call(wire.Hello(process="cli"), timeout_s=_PATIENCE_S)
    # One process never imports another, so the notifier's code runs as a process of its own.
    run = subprocess.run(
        [sys.executable, "-m", "beacon.notifier.test_event"],
        input=codec.encode(welcome.settings),
        stdout=subprocess.PIPE,
        env=os.environ,
        check=True,
    )
    told: dict[str, Any] = codec.decode(run.stdout)
    _show(output, told)
    sys.exit(errors.EXIT_OK if 200 <= told["status"] < 300 else errors.EXIT_FAILURE)


def _show(form: str, told: dict[str, Any]) -> None:
    output.show(form, told, _lines(told))


def _lines(told: dict[str, Any]) -> list[str]:
    if 200 <= told["status"] < 300:
        return [f"Accepted: {told['status']} after {told['seconds'] * 1000:.0f} ms (event {told['id']})."]
    lines = [f"Not accepted: {told['code'] or 'not sent'} after {told['seconds'] * 1000:.0f} ms: {told['error']}"]
    return [*lines, meaning(told["code"])]


def meaning(code: str) -> str:
    """Say what a code means for whoever has to mend it."""
    if code in _MEANINGS:
        return _MEANINGS[code]
    if code.startswith("3"):
        return "The endpoint is elsewhere. Beacon follows no redirect: put the address it names into endpoint.url."
    return "The endpoint is in trouble itself." if code.startswith("5") else "The endpoint refuses it."
