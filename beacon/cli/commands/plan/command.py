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
from beacon.cli.commands.plan import endpoints, model, rendering
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
    """Show the effect of a configuration: matching objects, changes, what each endpoint gets, missing rights.

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
        ledger, kept, why = _ledger(identity.uid)
        outcome = model.ObjectsAfterStart()
        found = survey.scopes(scopes, ledger, updates=tree.events.updated, outcome=outcome)
    except errors.ConfigError as error:
        store_client.fail(error, errors.EXIT_CONFIG)
    except errors.TransientError as error:
        store_client.fail(error, errors.EXIT_UNAVAILABLE)
    except errors.BeaconError as error:
        store_client.fail(error, errors.EXIT_FAILURE)
    for row in model.uncovered(scopes, ledger) if ledger else ():
        outcome.leave(row)
    outlook = rendering.Outlook(
        cluster=identity,
        found=found,
        ledger=ledger,
        left_out=why,
        by_endpoint=endpoints.forecast(tree, outcome, ledger, kept),
        removed=tuple(endpoints.removed(tree, kept)),
    )
    values = rendering.plain(outlook, scopes)
    _show(output, values, str(path or ""))
    sys.exit(errors.EXIT_OK if values["works"] else errors.EXIT_FAILURE)


def _ledger(uid: str) -> tuple[model.Ledger | None, endpoints.LedgerEndpoints | None, str]:
    """Return the running Beacon's ledger, or the reason why there is none to compare with."""
    try:
        ledger, kept = _read_ledger()
    except (errors.StartError, errors.TransientError) as error:
        return None, None, f"no store answers here ({error})"
    except errors.PermanentError as error:
        return None, None, f"the store refuses to return its ledger ({error})"
    if uid and ledger.cluster and uid != ledger.cluster:
        return None, None, f"the ledger belongs to cluster {ledger.cluster}, this is cluster {uid}"
    return ledger, kept, ""


def _read_ledger() -> tuple[model.Ledger, endpoints.LedgerEndpoints]:
    """Read what exists according to the ledger, page by page, so that the store's writes do not wait.

    Raises:
        errors.BeaconError: no store runs here, or it does not answer.
    """
    objects: dict[str, wire.StoredObject] = {}
    page = wire.ObjectPage(cluster="", epoch=0, objects=(), after="", more=True)
    with bus.Client(bus.address(run_directory.private(os.environ)), stop=threading.Event()) as client:
        while page.more:
            page = _page(client, page.after)
            objects.update((one.uid, one) for one in page.objects)
        kept = _read_endpoints(client)
    return model.Ledger(cluster=page.cluster, epoch=page.epoch, objects=objects), kept


def _read_endpoints(client: bus.Client) -> endpoints.LedgerEndpoints:
    views: dict[str, dict[model.ObjectName, tuple[str, str]]] = {}
    page = wire.ViewPage(endpoints=(), views=(), after=0, more=True)
    while page.more:
        page = client.try_call(wire.ReadViews(after=page.after), timeout_s=_TIMEOUT_S)
        for one in page.views:
            views.setdefault(one.endpoint, {})[model.subject_of(one)] = (one.uid, one.value)
    return endpoints.LedgerEndpoints(known={one.name: one for one in page.endpoints}, views=views)


def _page(client: bus.Client, after: str) -> wire.ObjectPage:
    return client.try_call(wire.ReadObjects(after=after), timeout_s=_TIMEOUT_S)


def _show(form: str, values: dict[str, object], config: str) -> None:
    output.show(form, values, rendering.lines(values, config, wide=form == "wide"))
