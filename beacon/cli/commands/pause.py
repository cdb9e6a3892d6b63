"""`beacon pause`: stop the sending to one endpoint."""

import uuid

import click

from beacon import wire
from beacon.cli import actor, endpoint_choice, formatting, output, store_client

_EPILOG = """
\b
Examples:
  beacon pause --reason "billing is being upgraded"
  beacon pause --endpoint billing

\b
Exit codes: 0 paused, now or before, 1 refused, 2 usage error, 69 the store does not answer, 78 the environment does not
name Beacon's run directory.
"""
_TIMEOUT_S = 10.0


@click.command("pause", epilog=_EPILOG)
@endpoint_choice.option("The endpoint to pause; needed if there are several.")
@click.option("--reason", default="", help="Recorded and shown with the endpoint.")
@output.option
def command(endpoint: str, reason: str, output: str) -> None:
    """Stop the sending to one endpoint until `beacon resume`, also across restarts.

    Events are still detected and stored, and wait for the endpoint in order. Other endpoints are not affected. Requests
    under way are completed; beacon test-event is still sent.
    """
    with store_client.store() as client:
        name = endpoint_choice.only(endpoint, endpoint_choice.configured(client))
        operation = wire.OperatorCommand(id=str(uuid.uuid4()), actor=actor.describe())
        request = wire.PauseEndpoint(endpoint=name, reason=reason, operation=operation)
        paused = client.try_call(request, timeout_s=_TIMEOUT_S)
    _show(output, name, paused)


def _show(form: str, name: str, paused: wire.EndpointPaused) -> None:
    since = formatting.precise(paused.since_us)
    plain = {"endpoint": name, "paused": True, "wasPaused": not paused.changed, "since": since}
    before = "" if paused.changed else f" already, since {since}"
    output.show(form, plain, [f"endpoint {name} is paused{before}; beacon resume --endpoint {name} ends that"])
