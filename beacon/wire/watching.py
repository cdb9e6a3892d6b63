"""Requests of the watcher: sessions of watch streams, lists and observations, all with positions."""

from dataclasses import dataclass

from beacon.domain import model, records
from beacon.wire import verb
from beacon.wire.outcome import ApplyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream(verb.Request["StreamOpened"]):
    """Start a session of a scope's watch stream; late requests of earlier sessions are refused from now on.

    `label` is `plural.group[@namespace]`, the scope's name in metrics. `nonce` makes a repetition harmless. `cluster`
    is the UID of the namespace kube-system, "" if it may not be read.
    """

    scope: model.ScopeId
    label: str
    fingerprint: str
    nonce: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened(verb.Reply):
    """Reply with the position of the stream.

    `cursor` is the resourceVersion to watch from; 0: there is none, list first, with `reason`. `highest` is the highest
    resourceVersion that any process read from this resource before: a server below it was restored. `tracked` are the
    UIDs whose observations are required even when they are not accepted.
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
    """Report a restored cluster: the server's resourceVersion `current` is below `highest` of the same epoch."""

    scope: model.ScopeId
    session: int
    epoch: int
    current: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire(verb.Request["PositionReply"]):
    """Report that the history after `prev` is gone (410): the cursor is invalid and the scope must be listed."""

    scope: model.ScopeId
    session: int
    epoch: int
    prev: int


@records.record
class Observe(verb.Request["PositionReply"]):
    """Report the changes in a scope after `prev` up to and including `position`, in order and complete.

    `observations` may be empty. Then only the position moves or, if both are equal, the stream checks that it is
    current.
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
    """Start a list of the whole scope at resourceVersion `at`; the cursor is invalid until the list ends.

    `prev` is the cursor from `StreamOpened` (0: none).
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
    """Send one page of the list: every UID with its resourceVersion, and the accepted or tracked objects in full.

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
    """Complete the list: `pages` pages with `count` objects. Objects that were not listed are gone.

    If not `identified`, an object was listed whose UID can't be read. It may be any object, so none is considered gone.
    """

    scope: model.ScopeId
    session: int
    at: int
    pages: int
    count: int
    identified: bool = True


@records.record
class PositionReply(verb.Reply):
    """Reply to every request with a position.

    `tracked` comes only with the end of a list (the complete set). A `tracked_version` other than the stream's means
    that its set is outdated: reopen the stream.
    """

    place: ApplyResult
    cursor: int = 0
    epoch: int = 0
    tracked_version: int = 0
    tracked: tuple[str, ...] | None = None
    why: str = ""


@records.record
class Confirm(verb.Request["Confirmed"]):
    """Confirm or move the positions of quiet scopes, none of which has an observation."""

    positions: tuple[Observe, ...]


@records.record
class Confirmed(verb.Reply):
    """Reply to each position, in the order of the request."""

    replies: tuple[PositionReply, ...]


OBSERVE = verb.Verb("observe", Observe, PositionReply, verb.VerbKind.INTAKE, bound=True)
VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("open-stream", OpenStream, StreamOpened, verb.VerbKind.WRITE),
    verb.Verb("rewind", Rewind, PositionReply, verb.VerbKind.WRITE, bound=True),
    verb.Verb("expire", Expire, PositionReply, verb.VerbKind.WRITE, bound=True),
    OBSERVE,
    verb.Verb("confirm", Confirm, Confirmed, verb.VerbKind.INTAKE, bound=True),
    verb.Verb("list-begin", ListBegin, PositionReply, verb.VerbKind.INTAKE, bound=True),
    verb.Verb("list-page", ListPage, PositionReply, verb.VerbKind.INTAKE, bound=True),
    verb.Verb("list-end", ListEnd, PositionReply, verb.VerbKind.INTAKE, bound=True),
)
