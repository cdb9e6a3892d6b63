"""What the reconciler and the store say to one another."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb
from beacon.wire.outcome import ApplyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOpen(verb.Request["Compared"]):
    """Begin a comparison of a scope with the cluster, before anything of the cluster is read for it.

    It replaces the scope's comparison before. `cluster` is the UID of namespace kube-system, or "" when it may not be
    read; `nonce` names the comparison in the requests that follow and makes a repeated one harmless.
    """

    scope: model.ScopeId
    fingerprint: str
    nonce: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareBegin(verb.Request["Compared"]):
    """Ask whether the scope's cursor has reached resourceVersion `at`, at which the scope is being listed.

    To be asked again until `Compared.reached`. It never moves the cursor.
    """

    scope: model.ScopeId
    nonce: str
    at: int
    api_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage(verb.Request["Compared"]):
    """One page of the list to compare with: as `ListPage`. Pages are numbered from 0."""

    scope: model.ScopeId
    nonce: str
    at: int
    number: int
    uids: tuple[str, ...]
    versions: tuple[int, ...]
    observations: tuple[model.Observation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareEnd(verb.Request["Compared"]):
    """The list to compare with is complete: `pages` pages with `count` objects. What was not in it is gone.

    Not `identified`: an object was listed whose UID can't be read. It may be any, so nothing is taken as gone.
    """

    scope: model.ScopeId
    nonce: str
    at: int
    pages: int
    count: int
    identified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(verb.Reply):
    """The answer to every request of a comparison.

    `out-of-position` means that it is void, for the reason `why`: begin anew. `tracked` comes with `reached`: the UIDs
    whose observations are wanted even when they are not accepted. `created`, `updated` and `deleted` count what has
    been told by this comparison so far.
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
