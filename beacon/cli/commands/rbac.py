"""`beacon rbac`: print the roles that grant exactly the rights a configuration needs."""

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from beacon import errors
from beacon.cli import builtin, configured, rights, terminal
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


class Served(Protocol):
    """A kind as discovery returns it."""

    @property
    def plural(self) -> str:
        """Return the plural."""

    @property
    def namespaced(self) -> bool:
        """Return True if its objects are namespaced."""


Discover = Callable[[rules.Scope], Served]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedScopes:
    """The scopes whose plural is known, and a sentence for each kind whose plural is not."""

    watched: tuple[rights.Watched, ...]
    problems: tuple[str, ...]


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
    resolved = resolve(scopes, _discover)
    if resolved.problems:
        for problem in resolved.problems:
            terminal.print_line(problem, err=True)
        sys.exit(errors.EXIT_FAILURE)
    needed = [right for watched in resolved.watched for right in rights.of(watched)]
    needed += [rights.IDENTITY] if identity else []
    _show(rights.manifests(needed, rights.Holder(**holder)), output)


def resolve(scopes: Iterable[rules.Scope], discover: Discover) -> ResolvedScopes:
    """Resolve the plural of every scope: from the configuration, the built-in table, or else the API server.

    A kind that is unknown, or cannot be watched as configured, is a problem.
    """
    watched: list[rights.Watched] = []
    problems: dict[str, None] = {}  # a kind has a scope for each of its namespaces; reported once
    for scope in scopes:
        try:
            plural = _plural(scope, discover)
        except errors.BeaconError as error:
            problems[f"{scope.id.kind} of {scope.api_version}: {error}"] = None
        else:
            watched.append(rights.Watched(group=scope.id.group, plural=plural, namespace=scope.id.namespace))
    return ResolvedScopes(watched=tuple(watched), problems=tuple(problems))


def _plural(scope: rules.Scope, discover: Discover) -> str:
    known: Served | None = builtin.find(scope.id.group, scope.id.kind)
    if scope.resource and not (known and known.plural == scope.resource):
        return scope.resource
    known = known or discover(scope)
    if scope.id.namespace and not known.namespaced:
        raise errors.PermanentError("the kind is cluster-wide: remove `namespaces`")
    return known.plural


def _discover(scope: rules.Scope) -> Served:
    """Look up a kind at the API server."""
    from beacon.cli import cluster_client  # noqa: PLC0415  most calls never need it, and it takes most of a second to load

    return cluster_client.find(scope)


def _show(manifests: list[dict[str, object]], output: str) -> None:
    if output == "json":
        terminal.document("json", {"apiVersion": "v1", "kind": "List", "items": manifests})
        return
    for number, manifest in enumerate(manifests):
        if number:
            terminal.print_line("---")
        terminal.document("yaml", manifest)
