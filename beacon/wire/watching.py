"""What the watcher and the store say to one another: streams, lists and what was observed, all bearing positions."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb
from beacon.wire.outcome import ApplyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream(verb.Request["StreamOpened"]):
    """Begin a session of a scope's watch stream; late requests of the session before are refused from now on.

    `label` is `plural.group[@namespace]`, the metrics' name of the scope; `nonce` makes a repeated request harmless.
    `cluster` is the UID of namespace kube-system, or "" when it may not be read.
    """

    scope: model.ScopeId
    label: str
    fingerprint: str
    nonce: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened(verb.Reply):
    """Where the stream stands.

    `cursor` is the resourceVersion to watch from; 0: there is none, list first, with `reason`. `highest` is the
    highest resourceVersion that any process read of this resource before this request: a server that is now below it
    was restored. `tracked` are the UIDs whose observations are wanted even when they are not accepted.
    """

    place: ApplyResult
    session: int = 0
    epoch: int = 0
    cursor: int = 0
    highest: int = 0
    reason: model.GapReason | None = None
    tracked: tuple[str, ...] = ()
    tracked_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind(verb.Request["PositionReply"]):
    """Report that the server's resourceVersion `current` is below `highest` of the same epoch: it was restored."""

    scope: model.ScopeId
    session: int
    epoch: int
    current: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire(verb.Request["PositionReply"]):
    """Report that the history after `prev` is gone (410): the cursor is void and the scope must be listed."""

    scope: model.ScopeId
    session: int
    epoch: int
    prev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe(verb.Request["PositionReply"]):
    """What happened in a scope after `prev` up to and including `position`, in order, without holes.

    `observations` may be empty: then only the position moves, or, when the two are equal, the stream asks whether
    all is as it believes.
    """

    scope: model.ScopeId
    session: int
    epoch: int
    prev: int
    position: int
    tracked_version: int
    fingerprint: str
    api_version: str
    observations: tuple[model.Observation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBegin(verb.Request["PositionReply"]):
    """A list of the whole scope at resourceVersion `at` begins; the cursor is void until it ends.

    `prev` is the cursor that `StreamOpened` gave (0: none).
    """

    scope: model.ScopeId
    session: int
    epoch: int
    prev: int
    at: int
    fingerprint: str
    api_version: str
    reason: model.GapReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage(verb.Request["PositionReply"]):
    """One page of the list: every UID with its resourceVersion, and the accepted or tracked objects whole.

    Pages are numbered from 0.
    """

    scope: model.ScopeId
    session: int
    at: int
    number: int
    uids: tuple[str, ...]
    versions: tuple[int, ...]
    observations: tuple[model.Observation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEnd(verb.Request["PositionReply"]):
    """The list is complete: `pages` pages with `count` objects. What was not in it is gone.

    Not `identified`: an object was listed whose UID can't be read. It may be any, so nothing is taken as gone.
    """

    scope: model.ScopeId
    session: int
    at: int
    pages: int
    count: int
    identified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReply(verb.Reply):
    """The answer to every position-bearing request.

    `tracked` comes with the end of a list only (the whole set anew). A `tracked_version` other than the stream's
    means that its set is outdated: open the stream anew.
    """

    place: ApplyResult
    cursor: int = 0
    epoch: int = 0
    tracked_version: int = 0
    tracked: tuple[str, ...] | None = None
    why: str = ""


OBSERVE = verb.Verb("observe", Observe, PositionReply, verb.VerbKind.INTAKE, bound=True)
VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("open-stream", OpenStream, StreamOpened, verb.VerbKind.WRITE),
    verb.Verb("rewind", Rewind, PositionReply, verb.VerbKind.WRITE, bound=True),
    verb.Verb("expire", Expire, PositionReply, verb.VerbKind.WRITE, bound=True),
    OBSERVE,
    verb.Verb("list-begin", ListBegin, PositionReply, verb.VerbKind.INTAKE, bound=True),
    verb.Verb("list-page", ListPage, PositionReply, verb.VerbKind.INTAKE, bound=True),
    verb.Verb("list-end", ListEnd, PositionReply, verb.VerbKind.INTAKE, bound=True),
)
