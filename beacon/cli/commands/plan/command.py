"""`beacon plan`: preview the effect of a configuration on a cluster.

It queries the API server and the store, and changes nothing in either.
"""

import os
import sys
import threading
from pathlib import Path

import click

from beacon import bus, errors, wire
from beacon.cli import cluster_choice, configured, output, store_client
from beacon.cli.commands.plan import model, rendering
from beacon.configuration import configured_scopes
from beacon.runtime import run_directory

_EPILOG = """
\b
Examples:
  beacon plan --config config.yaml --context staging
  kubectl exec -i -n beacon deploy/beacon -- beacon plan --config - < config.yaml
  beacon plan --config config.yaml -o json | jq '.scopes[] | {resource, namespace, new, unmanaged}'

\b
Exit codes: 0 it would work, 1 a right or a kind is missing, 2 usage error, 69 the API server does not answer,
78 the configuration is not valid, or there are no usable credentials, 130 interrupted.
"""
_TIMEOUT_S = 5.0


@click.command("plan", epilog=_EPILOG)
@configured.option
@cluster_choice.options
@output.option
def command(path: Path | None, output: str, **cluster: str) -> None:
    """Show the effect of a configuration: matching objects, changes, missing rights.

    Nothing is changed. The cluster is that of the kubeconfig, or else the pod's, and the rights are those of the
    caller's credentials: run the command in Beacon's pod to check Beacon's own rights. With a running Beacon, the
    result is compared with its ledger.
    """
    from beacon.cli.commands.plan import scan  # noqa: PLC0415  the client for the cluster takes most of a second to load

    tree = configured.load(path)
    scopes = configured_scopes.of(tree)
    try:
        survey = scan.Survey(cluster_choice.ClusterChoice(**cluster))
        identity = survey.cluster()
        ledger, why = _ledger(identity.uid)
        found = survey.scopes(scopes, ledger, updates=tree.events.updated)
    except errors.ConfigError as error:
        store_client.fail(error, errors.EXIT_CONFIG)
    except errors.TransientError as error:
        store_client.fail(error, errors.EXIT_UNAVAILABLE)
    except errors.BeaconError as error:
        store_client.fail(error, errors.EXIT_FAILURE)
    outlook = rendering.Outlook(cluster=identity, found=found, ledger=ledger, left_out=why)
    values = rendering.plain(outlook, scopes)
    _show(output, values, str(path or ""))
    sys.exit(errors.EXIT_OK if values["works"] else errors.EXIT_FAILURE)


def _ledger(uid: str) -> tuple[model.Ledger | None, str]:
    """Return the running Beacon's ledger, or the reason why there is none to compare with."""
    try:
        ledger = _read_ledger()
    except (errors.StartError, errors.TransientError) as error:
        return None, f"no store answers here ({error})"
    except errors.PermanentError as error:
        return None, f"the store refuses to return its ledger ({error})"
    if uid and ledger.cluster and uid != ledger.cluster:
        return None, f"the ledger belongs to cluster {ledger.cluster}, this is cluster {uid}"
    return ledger, ""


def _read_ledger() -> model.Ledger:
    """Read every object of the ledger that is not gone, page by page, so that the store's writes do not wait.

    Raises:
        errors.BeaconError: no store runs here, or it does not answer.
    """
    objects: dict[str, wire.StoredObject] = {}
    page = wire.ObjectPage(cluster="", epoch=0, objects=(), after="", more=True)
    with bus.Client(bus.address(run_directory.private(os.environ)), stop=threading.Event()) as client:
        while page.more:
            page = _page(client, page.after)
            objects.update((one.uid, one) for one in page.objects)
    return model.Ledger(cluster=page.cluster, epoch=page.epoch, objects=objects)


def _page(client: bus.Client, after: str) -> wire.ObjectPage:
    return client.try_call(wire.ReadObjects(after=after), timeout_s=_TIMEOUT_S)


def _show(form: str, values: dict[str, object], config: str) -> None:
    output.show(form, values, rendering.lines(values, config, wide=form == "wide"))
