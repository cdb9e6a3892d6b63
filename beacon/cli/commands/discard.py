"""`beacon discard`: gives failed deliveries up for good."""

import sys
from typing import Any

import click

from beacon import wire
from beacon.cli import bulk, store_client
from beacon.domain import model

_EPILOG = """
\b
Examples:
  beacon discard --reason "the tenant is gone" 0b5e0f2c-6c0e-5b8f-9d7e-2f3a4b5c6d7e
  beacon discard --reason "billed by hand" -n shop --until 2026-01-31T00:00:00Z --dry-run

\b
Exit codes: 0 done, 1 some were refused or are not there, 2 wrong use, 69 the store does not answer.
"""


@click.command("discard", epilog=_EPILOG)
@bulk.options
@click.option("--reason", required=True, help="Why; it is kept and shown with the delivery.")
def command(reason: str, **given: Any) -> None:
    """Give failed deliveries up: they are cleaned away after the retention period, and count as failed no more."""
    if not reason.strip():
        raise click.UsageError("--reason is empty: say why, somebody will want to know")
    wish = bulk.BulkRequest(
        request=lambda pairs: wire.Discard(deliveries=pairs, reason=reason),
        doing="discarded",
        states=(model.DeliveryState.FAILED.value,),
    )
    with store_client.store() as client:
        code = bulk.carry_out(client, wish, given)
    sys.exit(code)
