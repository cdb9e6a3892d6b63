"""`beacon rbac`: the roles that give a configuration what it needs and nothing else."""

import re
import sys
from pathlib import Path
from typing import Any

import click

from beacon import errors
from beacon.cli import configured, naming, rights, terminal
from beacon.configuration import configured_scopes
from beacon.domain import rules

_EPILOG = """
\b
Examples:
  beacon rbac --config config.yaml | kubectl apply -f -
  beacon rbac --config config.yaml --namespace notifications --name shop-beacon
  kubectl get configmap beacon -n beacon -o jsonpath='{.data.config\\.yaml}' | beacon rbac --config -

\b
Exit codes: 0 printed, 1 a kind's plural is not known or it can't be watched as configured, 2 wrong use,
78 the configuration is not valid. Unless it is 0 nothing is printed but the reasons, on the error stream.
"""


def _checked(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a name that the API server would refuse."""
    longest = 63 if parameter.name == "namespace" else 253
    dots = "" if parameter.name == "namespace" else "."
    if value is not None and not re.fullmatch(rf"[a-z0-9]([-a-z0-9{dots}]{{0,{longest - 2}}}[a-z0-9])?", value):
        raise click.BadParameter(f"{value!r} must be of lower-case letters, digits and - such as beacon")
    return value


@click.command("rbac", epilog=_EPILOG)
@configured.option
@click.option("--name", default="beacon", show_default=True, callback=_checked, help="Name of roles and bindings.")
@click.option(
    "--namespace", default="beacon", show_default=True, callback=_checked, help="Namespace in which Beacon runs."
)
@click.option(
    "--service-account", "account", default="beacon", show_default=True, callback=_checked, help="Whom Beacon runs as."
)
@click.option(
    "--identity/--no-identity",
    default=True,
    show_default=True,
    help="Include the right to read namespace kube-system, by whose UID Beacon notices that it has been put behind"
    " another cluster. Beacon works without it.",
)
@click.option("-o", "output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Form.")
def command(path: Path | None, *, identity: bool, output: str, **holder: str) -> None:
    """Print the least RBAC for a configuration, ready for `kubectl apply -f -`.

    A ClusterRole with its binding for kinds that are watched in all namespaces, a Role with its binding in each
    namespace for those that are watched in some. Plurals that neither the configuration nor Kubernetes itself says are
    asked of the API server that KUBECONFIG names, or of the pod's.
    """
    scopes = configured_scopes.of(configured.load(path))
    named = naming.name(scopes, _discover)
    if named.problems:
        for problem in named.problems:
            terminal.say(problem, err=True)
        sys.exit(errors.EXIT_FAILURE)
    needed = [right for watched in named.watched for right in rights.of(watched)]
    needed += [rights.IDENTITY] if identity else []
    _show(rights.manifests(needed, rights.Holder(**holder)), output)


def _discover(scope: rules.Scope) -> naming.Served:
    """Ask the API server; the client that this takes is loaded only now, because most never need it."""
    from beacon.cli import cluster_client  # noqa: PLC0415  see above

    return cluster_client.find(scope)


def _show(made: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        terminal.document("json", {"apiVersion": "v1", "kind": "List", "items": made})
        return
    for number, manifest in enumerate(made):
        if number:
            terminal.say("---")
        terminal.document("yaml", manifest)
