"""How a message travels: which requests there are, which reply each gets, and the envelope around both."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from beacon import codec, errors
from beacon.wire import (
    comparing,
    delivering,
    explaining,
    figures,
    following,
    greeting,
    keeping,
    planning,
    redelivering,
    watching,
)

VERSION = 1

_T = TypeVar("_T")

Request = (
    greeting.Ping
    | greeting.Hello
    | watching.OpenStream
    | watching.Rewind
    | watching.Expire
    | watching.Observe
    | watching.ListBegin
    | watching.ListPage
    | watching.ListEnd
    | delivering.Claim
    | figures.Inspect
    | comparing.CompareOpen
    | comparing.CompareBegin
    | comparing.ComparePage
    | comparing.CompareEnd
    | keeping.Prune
    | keeping.Vacuum
    | keeping.Adopt
    | keeping.Backup
    | planning.Holdings
    | redelivering.Find
    | redelivering.Redeliver
    | redelivering.Discard
    | explaining.Explain
    | following.Follow
)
Reply = (
    greeting.Pong
    | greeting.Welcome
    | watching.StreamOpened
    | watching.Positioned
    | delivering.Claimed
    | figures.Figures
    | comparing.Compared
    | keeping.Pruned
    | keeping.Vacuumed
    | keeping.Adopted
    | keeping.BackedUp
    | planning.Held
    | redelivering.Found
    | redelivering.Acted
    | explaining.Story
    | following.Followed
)

EXCHANGES: dict[str, tuple[type[Request], type[Reply]]] = {
    "ping": (greeting.Ping, greeting.Pong),
    "hello": (greeting.Hello, greeting.Welcome),
    "open-stream": (watching.OpenStream, watching.StreamOpened),
    "rewind": (watching.Rewind, watching.Positioned),
    "expire": (watching.Expire, watching.Positioned),
    "observe": (watching.Observe, watching.Positioned),
    "list-begin": (watching.ListBegin, watching.Positioned),
    "list-page": (watching.ListPage, watching.Positioned),
    "list-end": (watching.ListEnd, watching.Positioned),
    "claim": (delivering.Claim, delivering.Claimed),
    "inspect": (figures.Inspect, figures.Figures),
    "compare-open": (comparing.CompareOpen, comparing.Compared),
    "compare-begin": (comparing.CompareBegin, comparing.Compared),
    "compare-page": (comparing.ComparePage, comparing.Compared),
    "compare-end": (comparing.CompareEnd, comparing.Compared),
    "prune": (keeping.Prune, keeping.Pruned),
    "vacuum": (keeping.Vacuum, keeping.Vacuumed),
    "adopt": (keeping.Adopt, keeping.Adopted),
    "backup": (keeping.Backup, keeping.BackedUp),
    "holdings": (planning.Holdings, planning.Held),
    "find": (redelivering.Find, redelivering.Found),
    "follow": (following.Follow, following.Followed),
    "redeliver": (redelivering.Redeliver, redelivering.Acted),
    "discard": (redelivering.Discard, redelivering.Acted),
    "explain": (explaining.Explain, explaining.Story),
}
_BOUND = (
    watching.Rewind,
    watching.Expire,
    watching.Observe,
    watching.ListBegin,
    watching.ListPage,
    watching.ListEnd,
    comparing.CompareBegin,
    comparing.ComparePage,
    comparing.CompareEnd,
    redelivering.Redeliver,
    redelivering.Discard,
)
_VERBS: dict[type[Request], str] = {request: verb for verb, (request, _) in EXCHANGES.items()}


class ProtocolError(errors.PermanentError):
    """A message that this version does not understand."""


class Refusal(StrEnum):
    """Why the store did not carry out a request."""

    MALFORMED = "malformed"  # unknown verb, wrong version or wrong body; sending it again can't help
    STARTING = "starting"  # the store opens, checks or migrates the ledger; try again
    FULL = "full"  # no room on the volume; hold what you have and try again
    STORAGE = "storage"  # the volume gave an error; hold what you have and try again
    REPLACED = "replaced"  # meant for another ledger than the store's: what the client holds of it is void
    FOREIGN = "foreign"  # of another cluster than the ledger; only an operator can decide
    FAILED = "failed"  # the request itself can't be applied; the message says why


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


def is_bound(request: Request) -> bool:
    """Return True if the request must name its ledger, because it changes what its sender has learnt from one.

    A delivery, a position, a session or a page number of another ledger means something else in this one. A request
    that opens a session or carries nothing of that kind is the same to any ledger: its reply names the ledger.
    """
    if isinstance(request, delivering.Claim):
        return bool(request.settlements or request.held or request.resume)
    if isinstance(request, keeping.Prune):
        return request.after != (0, "")
    return isinstance(request, _BOUND)


def encode_request(request: Request, *, ledger: str = "") -> bytes:
    """Render a request; `ledger` is the id of the ledger that it is meant for, "" for any."""
    return codec.encode({"v": VERSION, "verb": _VERBS[type(request)], "ledger": ledger, "body": request})


def decode_request(data: bytes) -> tuple[Request, str]:
    """Parse and validate a request; the second value is the id of the ledger that it is meant for.

    Raises:
        ProtocolError: not JSON, another version, an unknown verb, or a body that does not fit it.
    """
    message = _decode_object(data)
    exchange = EXCHANGES.get(str(message.get("verb")))
    if exchange is None:
        raise ProtocolError(f"unknown verb {str(message.get('verb'))[:40]!r}")
    return _convert(message.get("body"), exchange[0]), str(message.get("ledger") or "")


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
    return _convert(envelope.body, EXCHANGES[_VERBS[type(request)]][1])


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
