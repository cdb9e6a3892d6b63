"""`beacon rbac`: print the roles that grant exactly the rights a configuration needs."""

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
Exit codes: 0 printed, 1 a kind's plural is not known or the kind cannot be watched as configured, 2 usage error,
78 the configuration is not valid. With any other code than 0, only the reasons are printed, to standard error.
"""


def _checked(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reject a name that the API server would reject."""
    longest = 63 if parameter.name == "namespace" else 253
    dots = "" if parameter.name == "namespace" else "."
    if value is not None and not re.fullmatch(rf"[a-z0-9]([-a-z0-9{dots}]{{0,{longest - 2}}}[a-z0-9])?", value):
        raise click.BadParameter(f"{value!r} must consist of lower-case letters, digits and -, for example beacon")
    return value


@click.command("rbac", epilog=_EPILOG)
@configured.option
@click.option("--name", default="beacon", show_default=True, callback=_checked, help="Name of roles and bindings.")
@click.option("--namespace", default="beacon", show_default=True, callback=_checked, help="Namespace of Beacon's pod.")
@click.option(
    "--service-account",
    "account",
    default="beacon",
    show_default=True,
    callback=_checked,
    help="Service account of Beacon's pod.",
)
@click.option(
    "--identity/--no-identity",
    default=True,
    show_default=True,
    help="Include the right to read namespace kube-system, whose UID lets Beacon detect a change to another cluster."
    " Beacon works without it.",
)
@click.option(
    "-o", "output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Output format."
)
def command(path: Path | None, *, identity: bool, output: str, **holder: str) -> None:
    """Print the minimal RBAC for a configuration, ready for `kubectl apply -f -`.

    Kinds that are watched in all namespaces get a ClusterRole with its binding; kinds that are watched in some
    namespaces get a Role with its binding in each of them. A plural that is neither configured nor built in is looked
    up at the API server of KUBECONFIG, or else the pod's.
    """
    scopes = configured_scopes.of(configured.load(path))
    named = naming.name(scopes, _discover)
    if named.problems:
        for problem in named.problems:
            terminal.print_line(problem, err=True)
        sys.exit(errors.EXIT_FAILURE)
    needed = [right for watched in named.watched for right in rights.of(watched)]
    needed += [rights.IDENTITY] if identity else []
    _show(rights.manifests(needed, rights.Holder(**holder)), output)


def _discover(scope: rules.Scope) -> naming.Served:
    """Look up a kind at the API server."""
    from beacon.cli import cluster_client  # noqa: PLC0415  most calls never need it, and it takes most of a second to load

    return cluster_client.find(scope)


def _show(manifests: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        terminal.document("json", {"apiVersion": "v1", "kind": "List", "items": manifests})
        return
    for number, manifest in enumerate(manifests):
        if number:
            terminal.print_line("---")
        terminal.document("yaml", manifest)
