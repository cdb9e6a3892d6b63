"""The output of `beacon plan`: plain values for programs, and lines for people. Pure.

The form of the values is documented in docs/cli.md; keys may be added, none changes its meaning.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beacon import wire
from beacon.cli import output, rights
from beacon.cli.commands.plan import endpoints, model
from beacon.configuration import configured_scopes
from beacon.domain import model as domain_model
from beacon.domain import rules

_COUNTS = ("objects", "annotated", "matching")
_SHOWN = 20
_CHANGES = ("kept", "new", "updated", "unmanaged", "deleted")
_EVENTS = tuple(type_.value for type_ in domain_model.EventType)
_CHANGED = {"new": "new", "returns": "configured again", "changed": "configured to get something else"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeOutlook:
    """One scope. `counts` is None if it cannot be listed; `problem` is the reason, unless it is a missing right."""

    scope: rules.Scope
    plural: str = ""
    problem: str = ""
    missing: tuple[rights.Right, ...] = ()
    counts: model.Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOutlook:
    """The cluster's identity, and whether it may be read."""

    uid: str
    identified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The whole result; `left_out` is the reason for a missing comparison with a ledger, else ""."""

    cluster: ClusterOutlook
    found: Sequence[ScopeOutlook]
    ledger: model.Ledger | None
    left_out: str
    by_endpoint: Sequence[endpoints.EndpointForecast] = ()
    removed: Sequence[wire.StoredEndpoint] = ()

    @property
    def wrong(self) -> list[str]:
        """Return a sentence for each obstacle."""
        sentences = []
        for one in self.found:
            sentences += [f"{_label(one)}: {one.problem}"] if one.problem else []
            sentences += [f"{_label(one)}: the right to {right} is missing" for right in one.missing]
        return list(dict.fromkeys(sentences))

    @property
    def missing(self) -> list[tuple[rights.Right, bool]]:
        """Return each missing right, and whether Beacon requires it."""
        needed = [(right, True) for one in self.found for right in one.missing]
        return needed if self.cluster.identified else [*needed, (rights.IDENTITY, False)]


def plain(outlook: Outlook, scopes: Sequence[rules.Scope]) -> dict[str, object]:
    """Return the documented form."""
    leaving = model.leaving(scopes, outlook.ledger) if outlook.ledger else {}
    return {
        "works": not outlook.wrong,
        "wrong": outlook.wrong,
        "review": _review(outlook, leaving.values()),
        "cluster": outlook.cluster.uid,
        "comparison": {"made": outlook.ledger is not None, "why": outlook.left_out},
        "scopes": [_scope(one) for one in outlook.found],
        "endpoints": endpoints.plain(outlook.by_endpoint),
        "leaving": [
            {"scope": configured_scopes.spelled("", place)} | asdict(place) | {"unmanaged": number}
            for place, number in leaving.items()
        ],
        "missingRights": [
            {
                "verb": right.verb,
                "group": right.group,
                "resource": right.resource,
                "namespace": right.namespace,
                "name": right.name,
                "needed": needed,
            }
            for right, needed in outlook.missing
        ],
    }


def lines(values: Mapping[str, Any], config: str, *, wide: bool = False) -> Iterator[str]:
    """Render the result of `plain` for people; `config` is the argument of `--config`, "" for the default file."""
    yield "This configuration would work." if values["works"] else "This configuration would not work:"
    yield from (f"  {sentence}" for sentence in values["wrong"])
    for right in values["missingRights"]:
        if not right["needed"]:
            yield "Namespace kube-system cannot be read: a change to another cluster would not be detected."
    if values["missingRights"]:
        option = f" --config {'FILE' if config == '-' else shlex.quote(config)}" if config else ""
        yield f"To grant the missing rights: beacon rbac{option} | kubectl apply -f -"
    if values["review"]:
        yield "Review before you apply it:"
        yield from (f"  {sentence}" for sentence in values["review"])
    yield ""
    numbers = (*_COUNTS, *(_CHANGES if values["comparison"]["made"] else ()))
    names = ("scope", "apiVersion", "kind") if wide else ("scope",)
    rows = (tuple("-" if one[name] is None else str(one[name]) for name in names + numbers) for one in values["scopes"])
    yield from output.table(_titles(names + numbers), rows, numbers=_titles(numbers))
    yield from _endpoints(values["endpoints"], compared=values["comparison"]["made"])
    yield from _left_out(values)


def _left_out(values: Mapping[str, Any]) -> Iterator[str]:
    """Render what is not counted: unreadable objects, a missing comparison, and what is not watched any more."""
    unreadable = [(one["scope"], text) for one in values["scopes"] for text in one["unreadable"]]
    if unreadable:
        yield f"\n{len(unreadable)} objects cannot be read and are skipped:"
        yield from (f"  {place}: {text}" for place, text in unreadable[:_SHOWN])
    if not values["comparison"]["made"]:
        yield f"\nNot compared with a ledger: {values['comparison']['why']}."
    if values["leaving"]:
        yield "\nNo longer watched; no events are emitted for these objects:"
        yield from (f"  {one['scope']}: {one['unmanaged']} become unmanaged" for one in values["leaving"])


def _endpoints(found: Sequence[Mapping[str, Any]], *, compared: bool) -> Iterator[str]:
    """Render what each endpoint gets, unless there is only one, which gets just the changes above."""
    caught_up = [one for one in found if any(one["catchUp"].values())]
    if len(found) < 2 and not caught_up:
        return
    names = ("objects", *(_EVENTS if compared else ()))
    rows = (
        (one["endpoint"], *(str(one[name]) for name in names), *((one["change"] or "-",) if compared else ()))
        for one in found
    )
    yield ""
    yield from output.table(
        _titles(("endpoint", *names, *(("change",) if compared else ()))), rows, numbers=_titles(names)
    )
    for one in caught_up:
        numbers = ", ".join(f"{number} {type_}" for type_, number in one["catchUp"].items() if number)
        yield f"  {one['endpoint']} is {_CHANGED[one['change']]}: a catch-up sends {numbers} to it alone"


def _review(outlook: Outlook, leaving: Collection[int]) -> list[str]:
    """Return a sentence for each effect that an operator may not expect."""
    counts = [one.counts for one in outlook.found if one.counts]
    changes = [one.changes for one in counts if one.changes]
    numbers = (
        (sum(one.unmanaged for one in changes) + sum(leaving), "will be unmanaged: their changes are no longer sent"),
        (sum(one.deleted for one in changes), "will be reported as deleted"),
        (sum(len(one.unreadable) for one in counts), "cannot be read and will be skipped"),
    )
    found = [f"{number} object{'s' * (number != 1)} {what}" for number, what in numbers if number]
    return [*found, *endpoints.sentences(outlook.removed)]


def _label(one: ScopeOutlook) -> str:
    return configured_scopes.spelled(one.plural, one.scope.id)


def _scope(one: ScopeOutlook) -> dict[str, Any]:
    counted = asdict(one.counts) if one.counts else {}
    changes = counted.get("changes") or {}
    return {
        "scope": _label(one),
        "apiVersion": one.scope.api_version,
        "kind": one.scope.id.kind,
        "resource": one.plural,
        "namespace": one.scope.id.namespace,
        "problem": one.problem,
        "unreadable": counted.get("unreadable") or [],
        **{key: counted.get(key) for key in _COUNTS},
        **{key: changes.get(key) for key in _CHANGES},
    }


def _titles(names: Sequence[str]) -> tuple[str, ...]:
    return tuple("API VERSION" if name == "apiVersion" else name.upper() for name in names)
