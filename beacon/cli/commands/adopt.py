"""`beacon adopt`: bind the ledger to another cluster than the one it was created for."""

import click

from beacon import wire
from beacon.cli import store_client, terminal

_EPILOG = """
\b
Examples:
  beacon adopt
  beacon adopt 7b0e2f3c-5a6d-4f10-9c1e-0d2a4b6c8e10

\b
Exit codes: 0 done, 1 refused, 2 usage error, 69 the store does not answer.
"""


@click.command("adopt", epilog=_EPILOG)
@click.argument("uid", default="")
def command(uid: str) -> None:
    """Bind the ledger to the cluster UID (of namespace kube-system; default: the cluster that was refused last).

    Every scope is listed again. Objects of the old cluster are not reported as deleted; those of the new cluster are
    reported as created.
    """
    with store_client.store() as client:
        reply = client.try_call(wire.Adopt(cluster=uid), timeout_s=10.0)
        verb = "now follows" if reply.changed else "already follows"
        terminal.print_line(f"the ledger {verb} cluster {reply.cluster}")
