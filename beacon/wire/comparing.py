"""Requests of the reconciler: compare a list of a scope with the ledger."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb
from beacon.wire.outcome import ApplyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOpen(verb.Request["Compared"]):
    """Start a comparison of a scope with the cluster, before anything is read from the cluster.

    It replaces the scope's earlier comparison. `cluster` is the UID of the namespace kube-system, "" if it may not be
    read. `nonce` identifies the comparison in the following requests and makes a repetition harmless.
    """

    scope: model.ScopeId
    fingerprint: str
    nonce: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareBegin(verb.Request["Compared"]):
    """Ask whether the scope's cursor has reached `at`, the resourceVersion at which the scope is being listed.

    Repeated until `Compared.reached`. It never moves the cursor.
    """

    scope: model.ScopeId
    nonce: str
    at: int
    api_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage(verb.Request["Compared"]):
    """Send one page of the list to compare with, as `ListPage`. Pages are numbered from 0."""

    scope: model.ScopeId
    nonce: str
    at: int
    number: int
    uids: tuple[str, ...]
    versions: tuple[int, ...]
    observations: tuple[model.Observation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareEnd(verb.Request["Compared"]):
    """Complete the list: `pages` pages with `count` objects. Objects that were not listed are gone.

    If not `identified`, an object was listed whose UID can't be read. It may be any object, so none is considered gone.
    """

    scope: model.ScopeId
    nonce: str
    at: int
    pages: int
    count: int
    identified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(verb.Reply):
    """Reply to every request of a comparison.

    `out-of-position`: the comparison is invalid, for the reason `why`, and must be restarted. `tracked` comes with
    `reached`: the UIDs whose observations are required even when they are not accepted. `created`, `updated` and
    `deleted` count the events that this comparison has emitted so far.
    """

    place: ApplyResult
    reached: bool = False
    tracked: tuple[str, ...] = ()
    created: int = 0
    updated: int = 0
    deleted: int = 0
    why: str = ""


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("compare-open", CompareOpen, Compared, verb.VerbKind.WRITE),
    verb.Verb("compare-begin", CompareBegin, Compared, verb.VerbKind.WRITE, bound=True),
    verb.Verb("compare-page", ComparePage, Compared, verb.VerbKind.WRITE, bound=True),
    verb.Verb("compare-end", CompareEnd, Compared, verb.VerbKind.WRITE, bound=True),
)
