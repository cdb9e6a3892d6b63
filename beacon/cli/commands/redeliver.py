"""`beacon redeliver`: send settled deliveries again."""

import sys

import click

from beacon import wire
from beacon.cli import bulk, store_client
from beacon.domain import model

_EPILOG = """
\b
Examples:
  beacon redeliver 0b5e0f2c
  beacon redeliver --since 2h --dry-run
  beacon redeliver --endpoint billing --yes
  beacon redeliver --state failed --kind deploy -n shop --yes
  beacon redeliver --state failed --name web --out-of-order

\b
Exit codes: 0 all are queued, 1 some were refused or do not exist, or it was not confirmed, 2 usage error, 69 the store
does not answer, 78 the environment does not name Beacon's run directory, 130 interrupted.
"""


@click.command("redeliver", epilog=_EPILOG)
@bulk.options
@click.option("--out-of-order", is_flag=True, help="Also send events whose object has a later delivered event.")
def command(out_of_order: bool, **params: object) -> None:  # noqa: FBT001
    """Send events again, with their original ids; filters without --state select failed deliveries.

    The event carries `redelivered: true`. An event whose object has a later delivered event is refused, because it
    would overwrite the receiver's newer state; --out-of-order sends it with `outoforder: true`. Each event is sent
    again to the endpoint that its delivery belongs to; --endpoint limits the selection to those of one endpoint.
    """
    action = bulk.BulkAction(
        request=lambda pairs, operation: wire.Redeliver(
            deliveries=pairs, out_of_order=out_of_order, operation=operation
        ),
        past="redelivered",
        states=(model.DeliveryState.FAILED.value,),
    )
    with store_client.store() as client:
        code = bulk.carry_out(client, action, params)
    sys.exit(code)
