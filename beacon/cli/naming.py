"""Resolves the plural of each configured kind: from the configuration, the built-in table, or the API server.

The API server is queried only for kinds that the other two do not know: built-in kinds need none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from beacon import errors
from beacon.cli import builtin, rights
from beacon.domain import rules


class Served(Protocol):
    """A kind as discovery returns it."""

    @property
    def plural(self) -> str:
        """The plural."""

    @property
    def namespaced(self) -> bool:
        """Whether its objects are namespaced."""


Discover = Callable[[rules.Scope], Served]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The scopes whose plural is known, and a sentence for each kind whose plural is not."""

    watched: tuple[rights.Watched, ...]
    problems: tuple[str, ...]


def name(scopes: Iterable[rules.Scope], discover: Discover) -> Named:
    """Resolve every scope; a kind that is unknown, or cannot be watched as configured, is a problem."""
    watched: list[rights.Watched] = []
    problems: dict[str, None] = {}  # a kind has a scope for each of its namespaces; reported once
    for scope in scopes:
        try:
            plural = _plural(scope, discover)
        except errors.BeaconError as error:
            problems[f"{scope.id.kind} of {scope.api_version}: {error}"] = None
        else:
            watched.append(rights.Watched(group=scope.id.group, plural=plural, namespace=scope.id.namespace))
    return Named(watched=tuple(watched), problems=tuple(problems))


def _plural(scope: rules.Scope, discover: Discover) -> str:
    known: Served | None = builtin.find(scope.id.group, scope.id.kind)
    if scope.resource and not (known and known.plural == scope.resource):
        return scope.resource
    known = known or discover(scope)
    if scope.id.namespace and not known.namespaced:
        raise errors.PermanentError("the kind is cluster-wide: remove `namespaces`")
    return known.plural
