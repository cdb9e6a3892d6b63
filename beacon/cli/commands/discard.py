"""`beacon discard`: give up failed deliveries permanently."""

import sys

import click

from beacon import wire
from beacon.cli import bulk, store_client
from beacon.domain import model

_EPILOG = """
\b
Examples:
  beacon discard --reason "the tenant is gone" 0b5e0f2c
  beacon discard --reason "billed by hand" -n shop --until 2026-01-31T00:00:00Z --dry-run

\b
Exit codes: 0 done, 1 some were refused or do not exist, or it was not confirmed, 2 usage error, 69 the store does not
answer, 78 the environment does not name Beacon's run directory, 130 interrupted.
"""


@click.command("discard", epilog=_EPILOG)
@bulk.options
@click.option("--reason", required=True, help="Recorded and shown with the delivery.")
def command(reason: str, **params: object) -> None:
    """Discard failed deliveries: they no longer count as failed and are removed after the retention period."""
    if not reason.strip():
        raise click.UsageError("--reason is empty: state why the deliveries are given up")
    action = bulk.BulkAction(
        request=lambda pairs, operation: wire.Discard(deliveries=pairs, reason=reason, operation=operation),
        past="discarded",
        states=(model.DeliveryState.FAILED.value,),
    )
    with store_client.store() as client:
        code = bulk.carry_out(client, action, params)
    sys.exit(code)
