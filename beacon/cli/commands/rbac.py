"""`beacon rbac`: print the roles that grant exactly the rights a configuration needs."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click
from click import core

from beacon import errors
from beacon.cli import cluster_choice, configured, output, rights, terminal
from beacon.configuration import configured_scopes
from beacon.domain import builtin, rules

_EPILOG = """
\b
Examples:
  beacon rbac --config config.yaml | kubectl apply -f -
  beacon rbac --config config.yaml -n notifications --name shop-beacon
  beacon rbac --config config.yaml --user jane --context staging
  kubectl get configmap beacon -n beacon -o jsonpath='{.data.config\\.yaml}' | beacon rbac --config -

\b
Exit codes: 0 printed, 1 a kind's plural is not known or the kind cannot be watched as configured, 2 usage error,
78 the configuration is not valid, 130 interrupted. With any other code than 0, only the reasons are printed, to
standard error.
"""


_HEAD = ("ROLE", "NAMESPACE", "API GROUP", "RESOURCES", "NAMES", "VERBS")


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
@cluster_choice.options
@click.option("--name", default="beacon", show_default=True, callback=_checked, help="Name of roles and bindings.")
@click.option(
    "-n", "--namespace", default="beacon", show_default=True, callback=_checked, help="Namespace of Beacon's pod."
)
@click.option(
    "--service-account",
    "account",
    default="beacon",
    show_default=True,
    callback=_checked,
    help="Service account of Beacon's pod.",
)
@click.option("--user", "users", multiple=True, help="User, in place of the service account; repeatable.")
@click.option("--group", "groups", multiple=True, help="Group, in place of the service account; repeatable.")
@click.option(
    "--identity/--no-identity",
    default=True,
    show_default=True,
    help="Include the right to read namespace kube-system, whose UID lets Beacon detect a change to another cluster."
    " Beacon works without it.",
)
@output.document_option
@click.pass_context
def command(context: click.Context, /, path: Path | None, *, identity: bool, output: str, **params: Any) -> None:
    """Print the minimal RBAC for a configuration, ready for `kubectl apply -f -`.

    Kinds that are watched in all namespaces get a ClusterRole with its binding; kinds that are watched in some
    namespaces get a Role with its binding in each of them. A plural that is neither configured nor built in is looked
    up at the API server of the kubeconfig, or else the pod's.
    """
    chosen = cluster_choice.ClusterChoice(kubeconfig=params.pop("kubeconfig"), context=params.pop("context"))
    holder = _holder(context, params)
    scopes = configured_scopes.of(configured.load(path))
    resolved = resolve(scopes, lambda scope: _discover(scope, chosen))
    if resolved.problems:
        for problem in resolved.problems:
            terminal.print_line(problem, err=True)
        sys.exit(errors.EXIT_FAILURE)
    needed = [right for watched in resolved.watched for right in rights.of(watched)]
    needed += [rights.IDENTITY] if identity else []
    _show(rights.manifests(needed, holder), output)


def _holder(context: click.Context, params: Mapping[str, Any]) -> rights.Holder:
    """Return the subjects; users and groups take the place of the service account."""
    holder = rights.Holder(**params)
    if not all((*holder.users, "-")) or not all((*holder.groups, "-")):
        raise click.UsageError("the name of a user or group is empty")
    given = context.get_parameter_source("account") is core.ParameterSource.COMMANDLINE
    if given and (holder.users or holder.groups):
        raise click.UsageError("--user and --group take the place of --service-account: name one or the other")
    return holder


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


def _discover(scope: rules.Scope, chosen: cluster_choice.ClusterChoice) -> Served:
    """Look up a kind at the API server."""
    from beacon.cli import cluster_client  # noqa: PLC0415  most calls never need it, and it takes most of a second to load

    return cluster_client.find(scope, chosen)


def _show(manifests: list[dict[str, Any]], form: str) -> None:
    if form != "yaml":
        plain = {"apiVersion": "v1", "kind": "List", "items": manifests}
        output.show(form, plain, output.table(_HEAD, _rows(manifests)))
        return
    for number, manifest in enumerate(manifests):
        if number:
            terminal.print_line("---")
        terminal.document("yaml", manifest)


def _rows(manifests: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each rule of the roles."""
    for role in manifests:
        for rule in role.get("rules", ()):
            lists = (rule["apiGroups"], rule["resources"], rule.get("resourceNames", ()), rule["verbs"])
            cells = (",".join(each) or "-" for each in lists)
            yield role["kind"], role["metadata"].get("namespace", "-"), *cells
