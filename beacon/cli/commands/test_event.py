"""`beacon test-event`: send a test event, and explain the endpoint's response."""

import sys
import threading
import time
import uuid
from typing import Any

import click

from beacon import bus, errors, wire
from beacon.cli import endpoint_choice, output, store_client
from beacon.configuration import settings

_EPILOG = """
\b
Examples:
  beacon test-event
  beacon test-event --endpoint billing
  beacon test-event -o json | jq .code

\b
Exit codes: 0 accepted (2xx), 1 rejected or no response, 2 usage error, 69 the store or the notifier does not answer,
78 the environment does not name Beacon's run directory.
"""
_TIMEOUT_S = 5.0
_POLL_S = 0.2
_TAKEN_S = 10.0  # the notifier asks every second, but may just be restarting
_MARGIN_S = 10.0  # beyond endpoint.timeout
_MEANINGS = {
    "": "No request was sent.",
    "network": "No connection: check the host name, address, port and network policies.",
    "tls": "TLS failed: check endpoint.tls and the endpoint's certificate.",
    "internal": "An unexpected error of Beacon.",
    "token": "No token could be obtained: check endpoint.auth.oauth2 and the token endpoint.",
    "timeout": "No complete response within endpoint.timeout.",
    "400": "The endpoint does not understand the request.",
    "401": "The token is missing or unknown to the endpoint: check endpoint.auth, or ENDPOINT_AUTH_TOKEN and its file.",
    "403": "The endpoint knows the token, but the token lacks the permission.",
    "404": "The path does not exist: check endpoint.url.",
    "405": "The endpoint does not accept this method: check endpoint.method.",
    "415": "The endpoint does not accept application/cloudevents+json.",
    "429": "The endpoint limits the request rate.",
}


@click.command("test-event", epilog=_EPILOG)
@endpoint_choice.option("The endpoint to send to; needed if there are several.")
@output.option
def command(endpoint: str, output: str) -> None:
    """Send one test event through the running notifier, and print the endpoint's response.

    It is sent at once, also while the endpoint is paused or down. Method, headers, token, TLS files, proxy and timeout
    are those of the running notifier, not of this command. The event's type ends in `.test`, and it carries
    `test: true`; it belongs to no object and is not in the ledger.
    """
    with store_client.store() as client:
        sent, several = _sent(client, endpoint)
    response: dict[str, Any] = {
        "id": sent.id,
        "type": sent.type,
        "endpoint": sent.endpoint,
        "code": sent.code,
        "status": sent.status,
        "error": sent.error,
        "durationMs": round(sent.seconds * 1000, 1),
        "seconds": sent.seconds,  # deprecated
        "requestId": sent.request_id,
        "clockOffsetSeconds": sent.clock_offset_s,
    }
    _show(output, response, f" by {sent.endpoint}" if several else "")
    sys.exit(errors.EXIT_OK if 200 <= response["status"] < 300 else errors.EXIT_FAILURE)


def _sent(client: bus.Client, name: str) -> tuple[wire.TestEventResult, bool]:
    """Request a test event for an endpoint, "" for the only one, and wait for the result; True: there are several.

    Raises:
        click.UsageError: there is no such endpoint, or none is given and there are several.
        errors.TransientError: the notifier did not take it, or did not report a result in time.
    """
    tree = settings.from_plain(client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S).settings)
    endpoints = {one.name: one for one in tree.endpoints}
    chosen = endpoints[endpoint_choice.only(name, tuple(endpoints))]
    request = wire.RequestTestEvent(id=str(uuid.uuid4()), endpoint=chosen.name)
    began, pause = time.monotonic(), threading.Event()
    while True:
        progress = client.try_call(request, timeout_s=_TIMEOUT_S)
        if progress.result is not None:
            return progress.result, len(endpoints) > 1
        waited_s = time.monotonic() - began
        if not progress.taken and waited_s > _TAKEN_S:
            raise errors.TransientError("the notifier does not answer: see beacon status")
        if waited_s > _TAKEN_S + chosen.timeout_s + _MARGIN_S:
            raise errors.TransientError("the notifier has reported no result: see beacon status")
        pause.wait(_POLL_S)


def _show(form: str, response: dict[str, Any], by: str) -> None:
    output.show(form, response, _lines(response, by))


def _lines(response: dict[str, Any], by: str) -> list[str]:
    took = f"after {response['seconds'] * 1000:.0f} ms"
    clock = _clock_lines(response["clockOffsetSeconds"])
    if 200 <= response["status"] < 300:
        return [f"Accepted{by}: {response['status']} {took} (event {response['id']}).", *clock]
    code = response["code"]
    found = [f"Rejected{by}: {code or 'not sent'} {took}: {response['error']}", meaning(code, several=bool(by))]
    return [*found, *clock]


def _clock_lines(offset_s: float | None) -> list[str]:
    """Return a line about clocks that differ: a receiver of signatures refuses requests then."""
    if not offset_s:
        return []
    direction = "ahead of" if offset_s > 0 else "behind"
    return [f"The endpoint's clock is {abs(offset_s):.0f} s {direction} Beacon's."]


def meaning(code: str, *, several: bool = False) -> str:
    """Return the likely cause of a code and what to check; with several endpoints there is no common token."""
    if several and code == "401":
        return "The credentials are missing or unknown to the endpoint: check its auth and headers."
    if code in _MEANINGS:
        return _MEANINGS[code]
    if code.startswith("3"):
        return "Beacon does not follow redirects: set endpoint.url to the address that the redirect names."
    return "The endpoint reports an internal error." if code.startswith("5") else "The endpoint rejects the request."
