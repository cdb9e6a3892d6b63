"""`beacon plan`: what a configuration would do on this cluster, before anybody lets it.

It asks the API server and the store, and changes nothing at either.
"""

import sys
from pathlib import Path

import click

from beacon import errors
from beacon.cli import configured, ledger_objects, plan_model, plan_output, terminal
from beacon.configuration import configured_scopes

_EPILOG = """
\b
Examples:
  beacon plan --config config.yaml
  kubectl exec -i -n beacon deploy/beacon -- beacon plan --config - < config.yaml
  beacon plan --config config.yaml -o json | jq '.scopes[] | {resource, namespace, new, unmanaged}'

\b
Exit codes: 0 it would work, 1 a right or a kind is missing, 2 wrong use, 69 the API server does not answer,
78 the configuration is not valid, or there are no credentials.
"""


@click.command("plan", epilog=_EPILOG)
@configured.option
@click.option("-o", "output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
def command(path: Path | None, output: str) -> None:
    """Show what a configuration would do: objects that match, what changes, which rights are missing.

    Nothing is changed. The cluster is the one that KUBECONFIG names, or the pod's, and the rights are those of whoever
    asks: run it in Beacon's pod to learn what Beacon may do. Where a Beacon runs, its ledger says what would be new,
    and what would become unmanaged.
    """
    from beacon.cli import plan_scan  # noqa: PLC0415  the client for the cluster takes most of a second to load

    tree = configured.load(path)
    scopes = configured_scopes.of(tree)
    try:
        looked = plan_scan.Survey()
        cluster = looked.cluster()
        ledger, why = _ledger(cluster.uid)
        found = looked.scopes(scopes, ledger, updates=tree.events.updated)
    except errors.ConfigError as error:
        _end(error, errors.EXIT_CONFIG)
    except errors.TransientError as error:
        _end(error, errors.EXIT_UNAVAILABLE)
    else:
        seen = plan_output.plain(plan_output.Outlook(cluster=cluster, found=found, ledger=ledger, left_out=why), scopes)
        if output == "table":
            for line in plan_output.lines(seen):
                terminal.say(line)
        else:
            terminal.document(output, seen)
        sys.exit(errors.EXIT_OK if seen["works"] else errors.EXIT_FAILURE)


def _ledger(uid: str) -> tuple[plan_model.Ledger | None, str]:
    """Give the running Beacon's ledger, or why there is none to compare with."""
    try:
        ledger = ledger_objects.read()
    except (errors.StartError, errors.TransientError) as error:
        return None, f"no store answers here ({error})"
    except errors.PermanentError as error:
        return None, f"the store refuses to show its ledger ({error})"
    if uid and ledger.cluster and uid != ledger.cluster:
        return None, f"the ledger is of cluster {ledger.cluster}, and this is cluster {uid}"
    return ledger, ""


def _end(error: errors.BeaconError, code: int) -> None:
    terminal.say(str(error), err=True)
    sys.exit(code)
