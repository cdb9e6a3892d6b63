"""Every request and reply between the processes, typed, versioned and validated.

A message is one JSON object. Requests are `{"v": 1, "verb": ..., "body": {...}}`; replies carry, besides their body,
the ledger's id and the digest of the configuration, so that a client notices a replaced ledger or a changed
configuration before it goes on. Nothing here knows a socket; what the verbs do stands in `beacon.store.service`.

Every request may arrive twice, late, or not at all, and must then do no harm: position-bearing requests are known by
their position, `claim` by session and number, settlements by (delivery, generation, attempt).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from beacon import codec, errors, model

VERSION = 1

_T = TypeVar("_T")


class ProtocolError(errors.PermanentError):
    """A message that this version does not understand."""


class Refusal(StrEnum):
    """Why the store did not carry out a request."""

    MALFORMED = "malformed"  # unknown verb, wrong version or wrong body; sending it again can't help
    STARTING = "starting"  # the store opens, checks or migrates the ledger; try again
    FULL = "full"  # no room on the volume; hold what you have and try again
    STORAGE = "storage"  # the volume gave an error; hold what you have and try again
    REPLACED = "replaced"  # meant for another ledger than the store's: what the client holds of it is void
    FAILED = "failed"  # the request itself can't be applied; the message says why


class Place(StrEnum):
    """What the store says to a request that bears a position."""

    APPLIED = "applied"  # done, and on disk; or it had been before
    OUT_OF_POSITION = "out-of-position"  # not applied: open the stream anew and go on from its cursor
    RECONFIGURED = "reconfigured"  # not applied: built under another configuration than the store's


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Ask whether the store lives and what it is doing. Answered even while it checks or migrates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """What the store is doing: `ready`, or the work that keeps it from serving, in words."""

    state: str
    since_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Introduce a process and ask for the configuration with which the store started."""

    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The effective settings as plain values (`settings.from_plain`)."""

    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream:
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
class StreamOpened:
    """Where the stream stands.

    `cursor` is the resourceVersion to watch from; 0: there is none, list first, with `reason`. `highest` is the
    highest resourceVersion that any process read of this resource before this request: a server that is now below it
    was restored. `tracked` are the UIDs whose observations are wanted even when they are not accepted.
    """

    place: Place
    session: int = 0
    epoch: int = 0
    cursor: int = 0
    highest: int = 0
    reason: model.GapReason | None = None
    tracked: tuple[str, ...] = ()
    tracked_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind:
    """Report that the server's resourceVersion `current` is below `highest` of the same epoch: it was restored."""

    scope: model.ScopeId
    session: int
    epoch: int
    current: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """Report that the history after `prev` is gone (410): the cursor is void and the scope must be listed."""

    scope: model.ScopeId
    session: int
    epoch: int
    prev: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
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
class ListBegin:
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
class ListPage:
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
class ListEnd:
    """The list is complete: `pages` pages with `count` objects. What was not in it is gone."""

    scope: model.ScopeId
    session: int
    at: int
    pages: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Positioned:
    """The answer to every position-bearing request.

    `tracked` comes with the end of a list only (the whole set anew). A `tracked_version` other than the stream's
    means that its set is outdated: open the stream anew.
    """

    place: Place
    cursor: int = 0
    epoch: int = 0
    tracked_version: int = 0
    tracked: tuple[str, ...] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Settle what is done and ask for more: a long poll.

    `session` is the notifier's random name, `number` counts its claims from 1; the number before is thereby
    acknowledged, unless `seen`, the highest number whose reply had arrived when this claim was sent, says less: a claim
    may be sent while the one before is parked, which ends the parking of that one. `want` deliveries at most are given
    out (0: only settle). `probe`: the breaker is open, give the one event that suits a probe, whatever its backoff;
    with `fresh_only` only one that was never attempted. `resume`: the breaker closed, forgiven retries are due now.
    `held` are the deliveries that the notifier has in flight. The store parks the request for up to `wait_s` when
    nothing is due.
    """

    endpoint: str
    session: str
    number: int
    want: int
    wait_s: float
    seen: int = -1  # -1: number - 1
    settlements: tuple[model.Outcome, ...] = ()
    held: tuple[int, ...] = ()
    probe: bool = False
    fresh_only: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What to send now. `fenced`: another notifier took over; open a new session with what you hold.

    `backlog` is how many deliveries of the endpoint are ready (due or waiting) beyond those held.
    """

    number: int
    fenced: bool = False
    deliveries: tuple[model.Delivery, ...] = ()
    backlog: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """Ask for the figures that the exporter shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFigures:
    """One scope's position. `listed` is false until its first list has ended and while one runs."""

    label: str
    listed: bool
    position: int
    position_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFigures:
    """Counts of one endpoint's deliveries; `oldest_us` is the commit instant of the oldest open one (0: none)."""

    endpoint: str
    ready: int
    waiting: int
    queued: int
    in_flight: int
    failed: int
    delivered: int
    discarded: int
    oldest_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFigures:
    """One interval in which a scope was not followed; `until_us` 0: it is open, `since_us` 0: nobody knows."""

    label: str
    reason: model.GapReason
    since_us: int
    until_us: int
    differences: int
    certainty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the ledger holds now.

    `tracked` counts tracked objects by kind, `rows` rows by `table/state`; `gaps` are the latest, newest first.
    """

    scopes: tuple[ScopeFigures, ...]
    endpoints: tuple[EndpointFigures, ...]
    tracked: Mapping[str, int]
    rows: Mapping[str, int]
    database_bytes: int
    wal_bytes: int
    sqlite_version: str
    claimed_us: int
    gaps: tuple[GapFigures, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOpen:
    """Begin a comparison of a scope with the cluster, before anything of the cluster is read for it.

    It replaces the scope's comparison before. `cluster` is the UID of namespace kube-system, or "" when it may not be
    read; `nonce` names the comparison in the requests that follow and makes a repeated one harmless.
    """

    scope: model.ScopeId
    fingerprint: str
    nonce: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareBegin:
    """Ask whether the scope's cursor has reached resourceVersion `at`, at which the scope is being listed.

    To be asked again until `Compared.reached`. It never moves the cursor.
    """

    scope: model.ScopeId
    nonce: str
    at: int
    api_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage:
    """One page of the list to compare with: as `ListPage`. Pages are numbered from 0."""

    scope: model.ScopeId
    nonce: str
    at: int
    number: int
    uids: tuple[str, ...]
    versions: tuple[int, ...]
    observations: tuple[model.Observation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareEnd:
    """The list to compare with is complete: `pages` pages with `count` objects. What was not in it is gone."""

    scope: model.ScopeId
    nonce: str
    at: int
    pages: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The answer to every request of a comparison.

    `out-of-position` means that it is void, for the reason `why`: begin anew. `tracked` comes with `reached`: the UIDs
    whose observations are wanted even when they are not accepted. `created`, `updated` and `deleted` count what has
    been told by this comparison so far.
    """

    place: Place
    reached: bool = False
    tracked: tuple[str, ...] = ()
    created: int = 0
    updated: int = 0
    deleted: int = 0
    why: str = ""


class Prunable(StrEnum):
    """What the cleaner walks through."""

    OBJECTS = "objects"  # objects that are gone, with their events, deliveries and attempts
    EVENTS = "events"  # settled events of objects that are still there, but the latest
    ATTEMPTS = "attempts"  # the record of single requests
    GAPS = "gaps"  # the record of gaps that were closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Remove a few rows that are older than that and that nothing needs: the store decides which.

    `after` is the place in the table that the reply before gave. `survey`: only count what may go.
    """

    table: Prunable
    older_than_s: float
    after: tuple[int, str] = (0, "")
    survey: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows went (with `survey`: may go), by table, and where to go on; `oldest_us` is the oldest, 0: none."""

    rows: Mapping[str, int]
    after: tuple[int, str]
    more: bool
    oldest_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuum:
    """Give a few free pages of the file back to the volume; the last step writes the log back, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """How many pages were given back, and whether there are more."""

    pages: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Let the ledger follow another cluster from now on: `cluster` is its UID, "" the one that was refused last."""

    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """The ledger's cluster now; `changed` is false when it was that one already."""

    cluster: str
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """Copy some more pages of the ledger to the file `target`, an absolute path; ask again until none is left.

    The first request makes the file, which must not be there. One copy is made at a time: another target ends it.
    """

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """How much of the copy is made; it is whole and closed when `left` is 0."""

    left: int
    pages: int


Request = (
    Ping
    | Hello
    | OpenStream
    | Rewind
    | Expire
    | Observe
    | ListBegin
    | ListPage
    | ListEnd
    | Claim
    | Inspect
    | CompareOpen
    | CompareBegin
    | ComparePage
    | CompareEnd
    | Prune
    | Vacuum
    | Adopt
    | Backup
)
Reply = (
    Pong | Welcome | StreamOpened | Positioned | Claimed | Figures | Compared | Pruned | Vacuumed | Adopted | BackedUp
)

_REQUESTS: dict[str, type[Request]] = {
    "ping": Ping,
    "hello": Hello,
    "open-stream": OpenStream,
    "rewind": Rewind,
    "expire": Expire,
    "observe": Observe,
    "list-begin": ListBegin,
    "list-page": ListPage,
    "list-end": ListEnd,
    "claim": Claim,
    "inspect": Inspect,
    "compare-open": CompareOpen,
    "compare-begin": CompareBegin,
    "compare-page": ComparePage,
    "compare-end": CompareEnd,
    "prune": Prune,
    "vacuum": Vacuum,
    "adopt": Adopt,
    "backup": Backup,
}
_VERBS: dict[type[Request], str] = {kind: verb for verb, kind in _REQUESTS.items()}
_REPLIES: dict[type[Request], type[Reply]] = {
    Ping: Pong,
    Hello: Welcome,
    OpenStream: StreamOpened,
    Rewind: Positioned,
    Expire: Positioned,
    Observe: Positioned,
    ListBegin: Positioned,
    ListPage: Positioned,
    ListEnd: Positioned,
    Claim: Claimed,
    Inspect: Figures,
    CompareOpen: Compared,
    CompareBegin: Compared,
    ComparePage: Compared,
    CompareEnd: Compared,
    Prune: Pruned,
    Vacuum: Vacuumed,
    Adopt: Adopted,
    Backup: BackedUp,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The store's answer to a request that it did not carry out."""

    code: Refusal
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A reply as it travels. `ledger` and `settings` are "" while the store does not know them yet."""

    ledger: str = ""
    settings: str = ""
    refused: Refused | None = None
    body: Any = field(default_factory=dict)


def verb_of(request: Request) -> str:
    """Name a request as the wire, the metrics and the log do."""
    return _VERBS[type(request)]


def encode_request(request: Request, *, ledger: str = "") -> bytes:
    """Render a request; `ledger` is the id of the ledger that it is meant for, "" for any."""
    return codec.encode({"v": VERSION, "verb": _VERBS[type(request)], "ledger": ledger, "body": request})


def decode_request(data: bytes) -> tuple[Request, str]:
    """Parse and validate a request; the second value is the id of the ledger that it is meant for.

    Raises:
        ProtocolError: not JSON, another version, an unknown verb, or a body that does not fit it.
    """
    message = _decode_object(data)
    kind = _REQUESTS.get(str(message.get("verb")))
    if kind is None:
        raise ProtocolError(f"unknown verb {str(message.get('verb'))[:40]!r}")
    return _convert(message.get("body"), kind), str(message.get("ledger") or "")


def encode_reply(reply: Reply | Refused, *, ledger: str = "", settings: str = "") -> bytes:
    """Render a reply with the ledger's id and the configuration's digest."""
    refused = reply if isinstance(reply, Refused) else None
    body = None if refused else reply
    return codec.encode({"v": VERSION, "ledger": ledger, "settings": settings, "refused": refused, "body": body})


def decode_reply(data: bytes) -> Envelope:
    """Parse a reply's envelope; `reply_body` parses what is in it.

    Raises:
        ProtocolError: not a reply of this version.
    """
    return _convert(_decode_object(data), Envelope)


def reply_body(envelope: Envelope, request: Request) -> Reply:
    """Parse the body of the reply to `request`.

    Raises:
        ProtocolError: the body does not fit the request's verb.
    """
    return _convert(envelope.body, _REPLIES[type(request)])


def _decode_object(data: bytes) -> dict[str, Any]:
    try:
        message = codec.decode(data)
    except codec.DecodeError as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message is a JSON object")
    if message.get("v") != VERSION:
        raise ProtocolError(f"version {message.get('v')!r} where {VERSION} is spoken")
    return message


def _convert(value: Any, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error)) from error
