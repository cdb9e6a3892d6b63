"""The rules of the configuration: which objects are accepted, and which scopes cover them.

Pure: no clock, no socket, no SQL. The watcher evaluates objects and the store decides on events with it, so both must
have the same configuration. A scope's fingerprint identifies the rule that an evaluation used.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from beacon.domain import model, selectors

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class RuleError(ValueError):
    """The entries contradict each other; the message states the reasons."""

    def __init__(self, *problems: str) -> None:
        """Store the reasons."""
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The conditions of an entry of `resources` in addition to the annotation."""

    selector: selectors.Selector = selectors.EVERYTHING
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRule:
    """The conditions for an object of one scope to be accepted, and the parts of it that go into the payload.

    `named` holds the filters of namespaces with an entry of their own; `default` applies to all others, None if no
    other namespace is watched. `values` None means any. `payload_labels` None means all, as in the configuration.
    """

    annotation: str
    values: frozenset[str] | None = None
    default: Filter | None = Filter()
    named: Mapping[str, Filter] = field(default_factory=dict)
    payload_annotations: frozenset[str] = frozenset()
    payload_labels: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One scope: its identity, how the API serves it, and its rule.

    `resource` is the plural from the configuration, "" if discovery must find it.
    """

    id: model.ScopeId
    api_version: str
    resource: str
    rule: ScopeRule
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of `resources`, as `scopes` needs it."""

    api_version: str
    kind: str
    resource: str = ""
    namespaces: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    selector: str = ""


def scopes(
    entries: Iterable[Entry],
    *,
    annotation: str,
    values: Iterable[str] | None,
    payload_annotations: Iterable[str] = (),
    payload_labels: Iterable[str] | None = None,
) -> tuple[Scope, ...]:
    """Merge the configured entries into disjoint scopes, in the order in which the kinds are configured.

    Raises:
        RuleError: two entries contradict each other for one namespace of one kind.
    """
    by_kind: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        by_kind.setdefault((group_of(entry.api_version), entry.kind), []).append(entry)
    rule = ScopeRule(
        annotation=annotation,
        values=None if values is None else frozenset(values),
        payload_annotations=frozenset(payload_annotations),
        payload_labels=None if payload_labels is None else frozenset(payload_labels),
    )
    return tuple(scope for (group, kind), same in by_kind.items() for scope in _streams(group, kind, same, rule))


def group_of(api_version: str) -> str:
    """Return the API group of an apiVersion; the core group is ""."""
    return api_version.rpartition("/")[0]


def judge(
    rule: ScopeRule, *, namespace: str, annotations: Mapping[str, str], labels: Mapping[str, str]
) -> model.RuleVerdict:
    """Return the rule's verdict on an object: accepted, or the condition that it does not meet."""
    value = annotations.get(rule.annotation)
    if value is None or (rule.values is not None and value not in rule.values):
        return model.RuleVerdict.ANNOTATION
    chosen = rule.named.get(namespace, rule.default)
    if chosen is None or namespace in chosen.excluded:
        return model.RuleVerdict.NAMESPACE
    return model.RuleVerdict.ACCEPTED if chosen.selector.matches(labels) else model.RuleVerdict.LABEL


def kept_labels(rule: ScopeRule, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that go into the payload."""
    if rule.payload_labels is None:
        return dict(labels)
    return {key: value for key, value in labels.items() if key in rule.payload_labels}


def kept_annotations(rule: ScopeRule, annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that go into the payload; never the last applied configuration."""
    wanted = rule.payload_annotations
    return {key: value for key, value in annotations.items() if key in wanted and key != _LAST_APPLIED}


def fingerprint(rule: ScopeRule, namespace: str) -> str:
    """Compute a digest of the conditions that apply in one namespace; it ignores the conditions of other namespaces.

    The part before the dash depends only on the annotation (`same_annotation`).
    """
    chosen = rule.named.get(namespace, rule.default)
    terms = None if chosen is None or namespace in chosen.excluded else _terms(chosen)
    return _join(rule, [_values(rule), terms])


def same_annotation(one: str, other: str) -> bool:
    """Return True if two fingerprints are of rules with the same annotation, so that values can be compared."""
    return one.partition("-")[0] == other.partition("-")[0]


def _streams(group: str, kind: str, entries: list[Entry], rule: ScopeRule) -> Iterable[Scope]:
    default, named, problems = _filters(kind, entries)
    problems += _contradictions(kind, default, named)
    versions = {entry.api_version for entry in entries}
    plurals = {entry.resource for entry in entries if entry.resource}
    if len(versions) > 1 or len(plurals) > 1:
        problems.append(
            f"the entries of {kind} name different versions or resources of one API group: {sorted(versions | plurals)}"
        )
    if problems:
        raise RuleError(*dict.fromkeys(problems))
    covered = [""] if default is not None else list(named)
    for namespace in covered:
        mine = named if default is not None else {namespace: named[namespace]}
        own = ScopeRule(
            annotation=rule.annotation,
            values=rule.values,
            default=default,
            named=mine,
            payload_annotations=rule.payload_annotations,
            payload_labels=rule.payload_labels,
        )
        yield Scope(
            id=model.ScopeId(group=group, kind=kind, namespace=namespace),
            api_version=entries[0].api_version,
            resource=next(iter(plurals), ""),
            rule=own,
            fingerprint=_whole_fingerprint(own),
        )


def _filters(kind: str, entries: list[Entry]) -> tuple[Filter | None, dict[str, Filter], list[str]]:
    """Return the filter of all namespaces, those of single namespaces, and the problems of entries that differ."""
    default: Filter | None = None
    named: dict[str, Filter] = {}
    problems: list[str] = []
    for entry in entries:
        wanted = Filter(selector=selectors.parse(entry.selector), excluded=frozenset(entry.excluded))
        for namespace in entry.namespaces:
            if named.setdefault(namespace, wanted) != wanted:
                problems += [f"two entries of {kind} match different objects of namespace {namespace!r}"]
        if not entry.namespaces and default not in (None, wanted):
            problems += [f"two entries of {kind} match different objects of all namespaces"]
        elif not entry.namespaces:
            default = wanted
    return default, named, problems


def _contradictions(kind: str, default: Filter | None, named: Mapping[str, Filter]) -> Iterable[str]:
    for namespace, wanted in named.items():
        if namespace in wanted.excluded:
            yield f"an entry of {kind} both names and excludes namespace {namespace!r}"
        if default is not None and namespace not in default.excluded and wanted.selector != default.selector:
            yield (
                f"two entries of {kind} match different objects of namespace {namespace!r}: exclude it from the one"
                " for all namespaces"
            )


def _whole_fingerprint(rule: ScopeRule) -> str:
    """Compute a digest of the conditions in the whole scope; the parts of the payload do not count."""
    named = {namespace: _plain(wanted) for namespace, wanted in rule.named.items()}
    return _join(rule, [_values(rule), None if rule.default is None else _plain(rule.default), named])


def _plain(wanted: Filter) -> object:
    return [_terms(wanted), sorted(wanted.excluded)]


def _terms(wanted: Filter) -> list[tuple[str, str, list[str]]]:
    return sorted((term.key, term.operator, sorted(term.values)) for term in wanted.selector.requirements)


def _values(rule: ScopeRule) -> list[str] | None:
    return None if rule.values is None else sorted(rule.values)


def _join(rule: ScopeRule, what: object) -> str:
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{_digest(rule.annotation.encode(), 8)}-{_digest(text.encode(), 16)}"


def _digest(data: bytes, length: int) -> str:
    return hashlib.sha256(data).hexdigest()[:length]
