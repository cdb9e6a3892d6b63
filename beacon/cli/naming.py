"""Under which plural each configured kind is known: what the file says, Kubernetes' own, or what the API server says.

The API server is asked only for what can't be known otherwise, so a configuration of built-in kinds needs none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from beacon import errors
from beacon.cli import builtin, rights
from beacon.domain import rules


class Served(Protocol):
    """A kind as discovery gives it."""

    @property
    def plural(self) -> str:
        """The plural."""

    @property
    def namespaced(self) -> bool:
        """Whether it lives in namespaces."""


Discover = Callable[[rules.Scope], Served]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The scopes whose plural is known, and a sentence for each kind whose isn't."""

    watched: tuple[rights.Watched, ...]
    problems: tuple[str, ...]


def name(scopes: Iterable[rules.Scope], discover: Discover) -> Named:
    """Name every scope; a kind that nobody knows, or that can't be watched as configured, is a problem."""
    watched: list[rights.Watched] = []
    problems: dict[str, None] = {}  # a kind has a scope for each of its namespaces; said once
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
        raise errors.PermanentError("it does not live in namespaces: leave `namespaces` out")
    return known.plural
