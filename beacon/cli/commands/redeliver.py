"""`beacon redeliver`: sends deliveries once more that came to an end."""

import sys
from typing import Any

import click

from beacon import wire
from beacon.cli import bulk, store_client
from beacon.domain import model

_EPILOG = """
\b
Examples:
  beacon redeliver 0b5e0f2c-6c0e-5b8f-9d7e-2f3a4b5c6d7e
  beacon redeliver --since 2h --dry-run
  beacon redeliver --state failed --kind Deployment -n shop --yes
  beacon redeliver --state failed --name web --out-of-order

\b
Exit codes: 0 all are under way, 1 some were refused or are not there, 2 wrong use, 69 the store does not answer.
"""


@click.command("redeliver", epilog=_EPILOG)
@bulk.options
@click.option("--out-of-order", is_flag=True, help="Even if a later event of the object has been delivered.")
def command(out_of_order: bool, **given: Any) -> None:  # noqa: FBT001
    """Send events once more, with the id that they had; filters alone mean those that failed.

    The receiver sees `redelivered: true`. One whose object has had a later event delivered is refused, because it would
    turn the receiver's picture back: ask for it --out-of-order, and it says `outoforder: true`, too.
    """
    wish = bulk.BulkRequest(
        request=lambda pairs: wire.Redeliver(deliveries=pairs, out_of_order=out_of_order),
        doing="redelivered",
        states=(model.DeliveryState.FAILED.value,),
    )
    with store_client.store() as client:
        code = bulk.carry_out(client, wish, given)
    sys.exit(code)
