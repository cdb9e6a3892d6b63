"""Which events an endpoint gets, and why not the others: `select` and `exclude` of an endpoint, as pure functions.

An event is selected by what never changes about its object (kind, namespace, name) and by its type. Labels and values
may change, so they must not select: the endpoint would need a `deleted` when an object leaves the selection.
"""

import fnmatch
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from beacon.domain import model

LONGEST_PATTERN = 253  # the longest name of an object


class NotSelected(StrEnum):
    """The reason why an endpoint does not get an event."""

    KIND = "kind"  # not among the kinds of `select`
    NAMESPACE = "namespace"  # no pattern of `select.namespaces` matches
    NAME = "name"  # no pattern of `select.names` matches
    EXCLUDED = "excluded"  # `exclude` matches
    TYPE = "type"  # the event's type is not among `select.types`


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The object of an event; `namespace` is "" for a cluster-wide object, `group` for the core group."""

    group: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFilter:
    """Objects by kind (`Deployment.apps`, `Pod`) and by shell patterns. An empty tuple matches every object.

    The values of a key are alternatives; all keys must match.
    """

    kinds: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def is_empty(self) -> bool:
        """Return True if no key is given."""
        return not (self.kinds or self.namespaces or self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The events that an endpoint gets. An empty `types` means every type; `exclude` wins over `select`."""

    select: SubjectFilter = SubjectFilter()
    exclude: SubjectFilter = SubjectFilter()
    types: tuple[model.EventType, ...] = ()

    def why_no_object(self, subject: Subject) -> NotSelected | None:
        """Return the reason why the endpoint gets no event of the object; None if it gets some."""
        if reason := _mismatch(self.select, subject):
            return reason
        if not self.exclude.is_empty() and _mismatch(self.exclude, subject) is None:
            return NotSelected.EXCLUDED
        return None

    def why_not(self, subject: Subject, event: model.EventType) -> NotSelected | None:
        """Return the reason why the endpoint does not get the event; None if it gets it."""
        if reason := self.why_no_object(subject):
            return reason
        return NotSelected.TYPE if self.types and event not in self.types else None

    def recorded(self) -> str:
        """Return the selection as the ledger records it."""
        return recorded(replace(self, types=()).fingerprint(), self.types)

    def fingerprint(self) -> str:
        """Compute a digest by which the ledger recognizes a changed selection; order and repetitions don't matter."""
        parts = [self.types, *(_parts(self.select)), *(_parts(self.exclude))]
        text = repr([sorted(map(str, set(part))) for part in parts])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded(objects: str, types: Collection[model.EventType]) -> str:
    """Return a selection as the ledger records it: the fingerprint of the objects, and the types; empty: all."""
    return f"{objects}/{','.join(sorted(types or model.EventType))}"


def kind_of(group: str, kind: str) -> str:
    """Return a kind in the notation of `kinds`: `Deployment.apps`, or `Pod` for the core group."""
    return f"{kind}.{group}" if group else kind


def matches(pattern: str, text: str) -> bool:
    """Return True if a shell pattern (`*`, `?`, `[a-z]`, `[!a-z]`) matches the whole text, case-sensitively.

    The time is bounded by the product of both lengths, also for patterns such as `*a*a*a*b`.
    """
    return _compiled(pattern).match(text) is not None


@lru_cache(maxsize=4096)
def _compiled(shell: str) -> re.Pattern[str]:
    # Between two stars the translation takes the first match and never goes back (an atomic group).
    return re.compile(fnmatch.translate(shell))


def _mismatch(one: SubjectFilter, subject: Subject) -> NotSelected | None:
    if one.kinds and kind_of(subject.group, subject.kind) not in one.kinds:
        return NotSelected.KIND
    if not _any(one.namespaces, subject.namespace):
        return NotSelected.NAMESPACE
    return None if _any(one.names, subject.name) else NotSelected.NAME


def _any(patterns: Collection[str], text: str) -> bool:
    return not patterns or any(matches(pattern, text) for pattern in patterns)


def _parts(one: SubjectFilter) -> tuple[tuple[str, ...], ...]:
    return one.kinds, one.namespaces, one.names
