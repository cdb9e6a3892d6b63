"""What `beacon plan` says: plain values for programs, and lines for a person. Pure.

The form of the values is documented in docs/cli.md; keys may be added, none changes its meaning.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from beacon.cli import plan_model, rights
from beacon.configuration import configured_scopes
from beacon.domain import rules

_COUNTS = ("objects", "annotated", "matching")
_SHOWN = 20
_CHANGES = ("kept", "new", "updated", "unmanaged", "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeOutlook:
    """What one scope shows. `counts` is None when it can't be listed; `problem` says why, unless a right is missing."""

    scope: rules.Scope
    plural: str = ""
    problem: str = ""
    missing: tuple[rights.Right, ...] = ()
    counts: plan_model.Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOutlook:
    """The cluster as a whole: its identity, and whether it may be read."""

    uid: str
    identified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything that was found; `left_out` says why there is no comparison with a ledger, "" when there is one."""

    cluster: ClusterOutlook
    found: Sequence[ScopeOutlook]
    ledger: plan_model.Ledger | None
    left_out: str

    @property
    def wrong(self) -> list[str]:
        """Say in sentences what keeps the configuration from working."""
        said = []
        for one in self.found:
            said += [f"{_label(one)}: {one.problem}"] if one.problem else []
            said += [f"{_label(one)}: the right to {right} is missing" for right in one.missing]
        return list(dict.fromkeys(said))

    @property
    def missing(self) -> list[tuple[rights.Right, bool]]:
        """Give each right that is missing, and whether Beacon can't do without it."""
        needed = [(right, True) for one in self.found for right in one.missing]
        return needed if self.cluster.identified else [*needed, (rights.IDENTITY, False)]


def plain(outlook: Outlook, scopes: Sequence[rules.Scope]) -> dict[str, Any]:
    """Render it for a program."""
    leaving = plan_model.leaving(scopes, outlook.ledger) if outlook.ledger else {}
    return {
        "works": not outlook.wrong,
        "wrong": outlook.wrong,
        "cluster": outlook.cluster.uid,
        "comparison": {"made": outlook.ledger is not None, "why": outlook.left_out},
        "scopes": [_scope(one) for one in outlook.found],
        "leaving": [asdict(place) | {"unmanaged": number} for place, number in leaving.items()],
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


def lines(seen: Mapping[str, Any]) -> Iterator[str]:
    """Render for a person what `plain` gave."""
    yield "This configuration would work." if seen["works"] else "This configuration would not work:"
    yield from (f"  {sentence}" for sentence in seen["wrong"])
    for right in seen["missingRights"]:
        if not right["needed"]:
            yield "Namespace kube-system may not be read: another cluster behind the ledger would not be noticed."
    yield ""
    heads = ("resource", "namespace", *_COUNTS, *(_CHANGES if seen["comparison"]["made"] else ()))
    yield from _table([heads, *(_cells(one, heads) for one in seen["scopes"])])
    unreadable = [(_place(one), said) for one in seen["scopes"] for said in one["unreadable"]]
    if unreadable:
        yield f"\n{len(unreadable)} objects can't be read and are passed over:"
        yield from (f"  {place}: {said}" for place, said in unreadable[:_SHOWN])
    if not seen["comparison"]["made"]:
        yield f"\nNot compared with a ledger: {seen['comparison']['why']}."
    if seen["leaving"]:
        yield "\nNo longer watched, nothing is told of them:"
        yield from (f"  {_place(one)}: {one['unmanaged']} become unmanaged" for one in seen["leaving"])


def _label(one: ScopeOutlook) -> str:
    return configured_scopes.label(one.plural or one.scope.id.kind, one.scope.id)


def _scope(one: ScopeOutlook) -> dict[str, Any]:
    counted = asdict(one.counts) if one.counts else {}
    changes = counted.get("changes") or {}
    return {
        "apiVersion": one.scope.api_version,
        "kind": one.scope.id.kind,
        "resource": one.plural,
        "namespace": one.scope.id.namespace,
        "problem": one.problem,
        "unreadable": counted.get("unreadable") or [],
        **{key: counted.get(key) for key in _COUNTS},
        **{key: changes.get(key) for key in _CHANGES},
    }


def _cells(one: Mapping[str, Any], heads: Sequence[str]) -> tuple[str, ...]:
    shown = {**one, "resource": one["resource"] or one["kind"], "namespace": one["namespace"] or "(all)"}
    return tuple("-" if shown[head] is None else str(shown[head]) for head in heads)


def _place(one: Mapping[str, Any]) -> str:
    kind = f"{one['kind']}.{one['group']}" if one.get("group") else one["kind"]
    return f"{kind} in namespace {one['namespace']}" if one["namespace"] else kind


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align names to the left and numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join([*names, *numbers])
