"""`beacon adopt`: bind the ledger to another cluster than the one it was created for."""

import contextlib

import click

from beacon import bus, errors, wire
from beacon.cli import output, search, store_client, terminal

_EPILOG = """
\b
Examples:
  beacon adopt
  beacon adopt --yes 7b0e2f3c-5a6d-4f10-9c1e-0d2a4b6c8e10

\b
Exit codes: 0 done, 1 refused or not confirmed, 2 usage error, 69 the store does not answer, 78 the environment does
not name Beacon's run directory, 130 interrupted.
"""
_TIMEOUT_S = 10.0


@click.command("adopt", epilog=_EPILOG)
@click.argument("uid", default="")
@click.option("--force", is_flag=True, help="Adopt UID although no API server of this cluster was refused.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@output.option
def command(*, uid: str, force: bool, yes: bool, output: str) -> None:
    """Bind the ledger to the cluster UID (of namespace kube-system; default: the cluster that was refused last).

    UID, or the beginning of it, must be the cluster that was refused last, because nothing is watched while the ledger
    is bound to a cluster that is not the API server's. Every scope is listed again. Objects of the old cluster are not
    reported as deleted; those of the new cluster are reported as created.
    """
    with store_client.store() as client:
        named = uid if force else _whole(client, uid)
        checked = client.try_call(wire.Adopt(cluster=named, force=force, check=True), timeout_s=_TIMEOUT_S)
        if not checked.changed:
            _show(output, checked)
            return
        if not yes:
            question = f"The ledger of cluster {checked.previous or '(none)'} will follow cluster {checked.cluster}."
            terminal.print_line(f"{question} Every scope is listed again.", err=True)
            click.confirm("Continue?", abort=True, err=True)
        reply = client.try_call(wire.Adopt(cluster=checked.cluster, force=force), timeout_s=_TIMEOUT_S)
        _show(output, reply)


def _whole(client: bus.Client, uid: str) -> str:
    """Return the UID of the refused cluster if it begins with `uid`, else `uid`, which the store judges."""
    if len(uid) < search.SHORTEST_PREFIX:
        return uid
    with contextlib.suppress(errors.PermanentError):  # no cluster was refused: the store reports that, too
        refused = client.try_call(wire.Adopt(check=True), timeout_s=_TIMEOUT_S).cluster
        return refused if refused.startswith(uid) else uid
    return uid


def _show(form: str, reply: wire.Adopted) -> None:
    how = "now" if reply.changed else "already"
    plain = {"cluster": reply.cluster, "previous": reply.previous, "adopted": reply.changed}
    output.show(form, plain, [f"the ledger {how} follows cluster {reply.cluster}"])
