"""`beacon test-event`: send a test event, and explain the endpoint's response."""

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
Exit codes: 0 accepted (2xx), 1 rejected or no response, 2 usage error, 69 the store does not answer, 78 the
environment does not name Beacon's run directory.
"""
_TIMEOUT_S = 5.0
_MEANINGS = {
    "": "No request was sent.",
    "network": "No connection: check the host name, address, port and network policies.",
    "tls": "TLS failed: check endpoint.tls and the endpoint's certificate.",
    "timeout": "No complete response within endpoint.timeout.",
    "400": "The endpoint does not understand the request.",
    "401": "The token is missing or unknown to the endpoint: check ENDPOINT_AUTH_TOKEN and its file.",
    "403": "The endpoint knows the token, but the token lacks the permission.",
    "404": "The path does not exist: check endpoint.url.",
    "405": "The endpoint does not accept this method: check endpoint.method.",
    "415": "The endpoint does not accept application/cloudevents+json.",
    "429": "The endpoint limits the request rate.",
}


@click.command("test-event", epilog=_EPILOG)
@output.option
def command(output: str) -> None:
    """Send one test event over the notifier's transport and print the endpoint's response.

    Method, headers, token, TLS files, proxy and timeout are those of the running Beacon. The event's type ends in
    `.test`, and it carries `test: true`; it belongs to no object and is not recorded in the ledger.
    """
    with store_client.store() as client:
        welcome = client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S)
    # A process never imports another, so the notifier's code runs in its own process.
    run = subprocess.run(
        [sys.executable, "-m", "beacon.notifier.test_event"],
        input=codec.encode(welcome.settings),
        stdout=subprocess.PIPE,
        env=os.environ,
        check=True,
    )
    response: dict[str, Any] = codec.decode(run.stdout)
    response["durationMs"] = round(response["seconds"] * 1000, 1)  # `seconds` is deprecated
    _show(output, response)
    sys.exit(errors.EXIT_OK if 200 <= response["status"] < 300 else errors.EXIT_FAILURE)


def _show(form: str, response: dict[str, Any]) -> None:
    output.show(form, response, _lines(response))


def _lines(response: dict[str, Any]) -> list[str]:
    took = f"after {response['seconds'] * 1000:.0f} ms"
    if 200 <= response["status"] < 300:
        return [f"Accepted: {response['status']} {took} (event {response['id']})."]
    code = response["code"]
    return [f"Rejected: {code or 'not sent'} {took}: {response['error']}", meaning(code)]


def meaning(code: str) -> str:
    """Return the likely cause of a code and what to check."""
    if code in _MEANINGS:
        return _MEANINGS[code]
    if code.startswith("3"):
        return "Beacon does not follow redirects: set endpoint.url to the address that the redirect names."
    return "The endpoint reports an internal error." if code.startswith("5") else "The endpoint rejects the request."
