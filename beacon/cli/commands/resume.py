"""`beacon resume`: start the sending to a paused or parked endpoint again."""

import uuid

import click

from beacon import wire
from beacon.cli import actor, endpoint_choice, output, store_client

_EPILOG = """
\b
Examples:
  beacon resume
  beacon resume --endpoint billing

\b
Exit codes: 0 neither paused nor parked any more, 1 refused, 2 usage error, 69 the store does not answer, 78 the
environment does not name Beacon's run directory.
"""
_TIMEOUT_S = 10.0


@click.command("resume", epilog=_EPILOG)
@endpoint_choice.option("The endpoint to resume; needed if there are several.")
@output.option
def command(endpoint: str, output: str) -> None:
    """Start the sending to a paused or parked endpoint again: what waits is sent in order.

    What the endpoint has refused since it last accepted something is restored, and sent again.
    """
    with store_client.store() as client:
        name = endpoint_choice.only(endpoint, endpoint_choice.configured(client))
        operation = wire.OperatorCommand(id=str(uuid.uuid4()), actor=actor.describe())
        resumed = client.try_call(wire.ResumeEndpoint(endpoint=name, operation=operation), timeout_s=_TIMEOUT_S)
    _show(output, name, resumed)


def _show(form: str, name: str, resumed: wire.EndpointPaused) -> None:
    plain = {
        "endpoint": name,
        "paused": False,
        "wasPaused": resumed.was_paused,
        "wasParked": resumed.parked,
        "restored": resumed.restored,
        "toRestore": resumed.left,
    }
    output.show(form, plain, [_text(name, resumed)])


def _text(name: str, resumed: wire.EndpointPaused) -> str:
    if not resumed.changed:
        return f"endpoint {name} was neither paused nor parked"
    text = f"endpoint {name} is resumed"
    if resumed.parked:
        text += f"; it was parked ({resumed.parked})"
    if resumed.parked or resumed.restored or resumed.left:
        text += f"; restored deliveries: {resumed.restored}"
    if resumed.left:
        text += f"; refused deliveries that the notifier's next claims restore: {resumed.left}"
    return text
