"""`beacon adopt`: say that the ledger shall follow another cluster than the one that it was made for."""

import click

from beacon import wire
from beacon.cli import store_client, terminal

_EPILOG = """
\b
Examples:
  beacon adopt
  beacon adopt 7b0e2f3c-5a6d-4f10-9c1e-0d2a4b6c8e10

\b
Exit codes: 0 done, 1 refused, 2 wrong use, 69 the store does not answer.
"""


@click.command("adopt", epilog=_EPILOG)
@click.argument("uid", default="")
def command(uid: str) -> None:
    """Let the ledger follow the cluster UID (of namespace kube-system; default: the one that was refused last).

    Everything is listed anew. Nothing of the old cluster is told as deleted; what the new one has is told as created.
    """
    with store_client.store() as client:
        reply = client.try_call(wire.Adopt(cluster=uid), timeout_s=10.0)
        terminal.say(f"the ledger {'now follows' if reply.changed else 'follows'} cluster {reply.cluster}")
