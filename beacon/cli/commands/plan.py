"""`beacon plan`: preview the effect of a configuration on a cluster.

It queries the API server and the store, and changes nothing in either.
"""

import sys
from pathlib import Path

import click

from beacon import errors
from beacon.cli import configured, ledger_objects, output, plan_model, plan_output, store_client
from beacon.configuration import configured_scopes

_EPILOG = """
\b
Examples:
  beacon plan --config config.yaml
  kubectl exec -i -n beacon deploy/beacon -- beacon plan --config - < config.yaml
  beacon plan --config config.yaml -o json | jq '.scopes[] | {resource, namespace, new, unmanaged}'

\b
Exit codes: 0 it would work, 1 a right or a kind is missing, 2 usage error, 69 the API server does not answer,
78 the configuration is not valid, or there are no credentials.
"""


@click.command("plan", epilog=_EPILOG)
@configured.option
@output.option
def command(path: Path | None, output: str) -> None:
    """Show the effect of a configuration: matching objects, changes, missing rights.

    Nothing is changed. The cluster is that of KUBECONFIG, or else the pod's, and the rights are those of the
    caller's credentials: run the command in Beacon's pod to check Beacon's own rights. With a running Beacon, the
    result is compared with its ledger.
    """
    from beacon.cli import plan_scan  # noqa: PLC0415  the client for the cluster takes most of a second to load

    tree = configured.load(path)
    scopes = configured_scopes.of(tree)
    try:
        survey = plan_scan.Survey()
        cluster = survey.cluster()
        ledger, why = _ledger(cluster.uid)
        found = survey.scopes(scopes, ledger, updates=tree.events.updated)
    except errors.ConfigError as error:
        store_client.fail(error, errors.EXIT_CONFIG)
    except errors.TransientError as error:
        store_client.fail(error, errors.EXIT_UNAVAILABLE)
    outlook = plan_output.Outlook(cluster=cluster, found=found, ledger=ledger, left_out=why)
    values = plan_output.plain(outlook, scopes)
    _show(output, values)
    sys.exit(errors.EXIT_OK if values["works"] else errors.EXIT_FAILURE)


def _ledger(uid: str) -> tuple[plan_model.Ledger | None, str]:
    """Return the running Beacon's ledger, or the reason why there is none to compare with."""
    try:
        ledger = ledger_objects.read()
    except (errors.StartError, errors.TransientError) as error:
        return None, f"no store answers here ({error})"
    except errors.PermanentError as error:
        return None, f"the store refuses to return its ledger ({error})"
    if uid and ledger.cluster and uid != ledger.cluster:
        return None, f"the ledger belongs to cluster {ledger.cluster}, this is cluster {uid}"
    return ledger, ""


def _show(form: str, values: dict[str, object]) -> None:
    output.show(form, values, plan_output.lines(values))
