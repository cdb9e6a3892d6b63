"""`beacon adopt`: bind the ledger to another cluster than the one it was created for."""

import click

from beacon import wire
from beacon.cli import store_client, terminal

_EPILOG = """
\b
Examples:
  beacon adopt
  beacon adopt --yes 7b0e2f3c-5a6d-4f10-9c1e-0d2a4b6c8e10

\b
Exit codes: 0 done, 1 refused or not confirmed, 2 usage error, 69 the store does not answer.
"""
_TIMEOUT_S = 10.0


@click.command("adopt", epilog=_EPILOG)
@click.argument("uid", default="")
@click.option("--force", is_flag=True, help="Adopt UID although no API server of this cluster was refused.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def command(uid: str, force: bool, yes: bool) -> None:  # noqa: FBT001
    """Bind the ledger to the cluster UID (of namespace kube-system; default: the cluster that was refused last).

    UID must be the cluster that was refused last, because nothing is watched while the ledger is bound to a cluster
    that is not the API server's. Every scope is listed again. Objects of the old cluster are not reported as deleted;
    those of the new cluster are reported as created.
    """
    with store_client.store() as client:
        request = wire.Adopt(cluster=uid, force=force, check=True)
        checked = client.try_call(request, timeout_s=_TIMEOUT_S)
        if not checked.changed:
            terminal.print_line(f"the ledger already follows cluster {checked.cluster}")
            return
        if not yes:
            question = f"The ledger of cluster {checked.previous or '(none)'} will follow cluster {checked.cluster}."
            terminal.print_line(f"{question} Every scope is listed again.", err=True)
            click.confirm("Continue?", abort=True, err=True)
        reply = client.try_call(wire.Adopt(cluster=checked.cluster, force=force), timeout_s=_TIMEOUT_S)
        terminal.print_line(f"the ledger now follows cluster {reply.cluster}")
