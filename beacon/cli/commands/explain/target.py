"""Parses the arguments of `beacon explain` that name the object, in the forms that kubectl accepts. Pure."""

import string
from collections.abc import Iterable
from dataclasses import dataclass

import click

from beacon import wire
from beacon.cli import filters
from beacon.domain import builtin


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTarget:
    """An object by type, namespace and name, or, without a name, by its UID or an event's id in `what`."""

    what: str
    namespace: str = ""
    name: str = ""


def parse(what: str, name: str | None, namespace: str | None) -> ExplainTarget:
    """Parse `TYPE/NAME`, `TYPE NAME`, `TYPE NAMESPACE/NAME`, or an id; `namespace` is the option `-n`.

    Raises:
        click.UsageError: the name is missing or malformed, or there are two namespaces.
    """
    if name is None and "/" in what:
        what, _, name = what.partition("/")
    if name is None:
        if what.isalpha() and not _may_be_id(what):
            raise click.UsageError(f"the name of the {what} is missing: beacon explain {what} NAMESPACE/NAME")
        return ExplainTarget(what=what)
    before, slash, rest = name.rpartition("/")
    if not rest or "/" in before or not what:
        raise click.UsageError(f"{name!r} is neither NAMESPACE/NAME nor the NAME of a cluster-wide object")
    if slash and namespace not in (None, before):
        raise click.UsageError(f"the object is in namespace {before!r} or {namespace!r}: name one")
    return ExplainTarget(what=what, namespace=before if slash else namespace or "", name=rest)


def _may_be_id(text: str) -> bool:
    """Return True if an id may begin with a text."""
    return len(text) >= 4 and set(text) <= set(string.hexdigits)


def request(target: ExplainTarget, scopes: Iterable[wire.ScopeStatistics]) -> wire.Explain:
    """Return the store's request; the store's scopes have the plurals of custom resources.

    Raises:
        click.UsageError: the kind is namespaced, and no namespace is named.
    """
    if not target.name:
        return wire.Explain(target=target.what)
    kind = filters.kind_of(target.what, scopes)
    namespaced = builtin.is_namespaced(kind)
    if namespaced and not target.namespace:
        raise click.UsageError(f"{kind} is namespaced: name its namespace with -n, or as NAMESPACE/{target.name}")
    return wire.Explain(kind=kind, namespace="" if namespaced is False else target.namespace, name=target.name)


def is_known(kind: str, story: wire.Explanation) -> bool:
    """Return True if the kind is configured, recorded in the ledger, or built in."""
    return story.known or bool(builtin.kind_of(kind)) or kind.lower() in (one.lower() for one in story.kinds)
