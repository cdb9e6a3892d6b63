"""The format of messages: the registry of verbs, and the envelope of requests and replies."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from beacon import codec, errors
from beacon.wire import (
    comparing,
    delivering,
    endpoint_control,
    explain,
    handshake,
    maintenance,
    object_pages,
    recent_events,
    redelivering,
    statistics,
    test_events,
    verb,
    watching,
)
from beacon.wire.verb import AnyRequest, R, Reply, Request

VERSION = 1

_T = TypeVar("_T")

VERBS: dict[str, verb.AnyVerb] = {
    one.name: one
    for module in (
        handshake,
        watching,
        delivering,
        statistics,
        comparing,
        maintenance,
        object_pages,
        redelivering,
        endpoint_control,
        explain,
        recent_events,
        test_events,
    )
    for one in module.VERBS
}
_BY_REQUEST: dict[type, verb.AnyVerb] = {one.request: one for one in VERBS.values()}


class ProtocolError(errors.PermanentError):
    """A message that this version does not understand."""


class Refusal(StrEnum):
    """The reason why the store did not carry out a request."""

    MALFORMED = "malformed"  # unknown verb, wrong version or invalid body; a retry can't succeed
    STARTING = "starting"  # the store opens, checks or migrates the ledger; retry
    FULL = "full"  # no free space on the volume; keep the data and retry
    STORAGE = "storage"  # the volume returned an error; keep the data and retry
    REPLACED = (
        "replaced"  # addressed to another ledger than the store's: the client's data about that ledger is invalid
    )
    FOREIGN = "foreign"  # from another cluster than the ledger's; an operator must decide
    FAILED = "failed"  # the request can't be applied; the message states the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Reply to a request that the store did not carry out."""

    code: Refusal
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEnvelope:
    """A reply as it is sent. `ledger` and `settings` are "" until the store knows them."""

    ledger: str = ""
    settings: str = ""
    refused: Refused | None = None
    body: Any = field(default_factory=dict)


def verb_of(request: AnyRequest) -> str:
    """Return the verb's name, as used on the wire, in metrics and in the log."""
    return _BY_REQUEST[type(request)].name


def kind_of(request: AnyRequest) -> verb.VerbKind:
    """Return the kind of the request's verb."""
    return _BY_REQUEST[type(request)].kind


def is_bound(request: AnyRequest) -> bool:
    """Return True if the request must name its ledger, because it depends on data that its sender got from one.

    A delivery, a position, a session or a page number means something else in another ledger. A request that opens a
    session or carries none of these is valid for any ledger: its reply names the ledger.
    """
    if isinstance(request, delivering.Claim):
        return bool(request.settlements or request.held or request.resume)
    if isinstance(request, maintenance.Prune):
        return request.after != (0, "")
    return _BY_REQUEST[type(request)].bound


def encode_request(request: AnyRequest, *, ledger: str = "") -> bytes:
    """Encode a request; `ledger` is the id of the ledger that it is addressed to, "" for any."""
    return codec.encode({"v": VERSION, "verb": verb_of(request), "ledger": ledger, "body": request})


def decode_request(data: bytes) -> tuple[AnyRequest, str]:
    """Parse and validate a request. Return it with the id of the ledger that it is addressed to.

    Raises:
        ProtocolError: not JSON, another version, an unknown verb, or an invalid body.
    """
    message = _decode_object(data)
    asked = VERBS.get(str(message.get("verb")))
    if asked is None:
        raise ProtocolError(f"unknown verb {str(message.get('verb'))[:40]!r}")
    return _convert(message.get("body"), asked.request), str(message.get("ledger") or "")


def encode_reply(reply: Reply | Refused, *, ledger: str = "", settings: str = "") -> bytes:
    """Encode a reply with the ledger's id and the configuration's digest."""
    refused = reply if isinstance(reply, Refused) else None
    body = None if refused else reply
    return codec.encode({"v": VERSION, "ledger": ledger, "settings": settings, "refused": refused, "body": body})


def decode_reply(data: bytes) -> ReplyEnvelope:
    """Parse the envelope of a reply; `reply_body` parses its body.

    Raises:
        ProtocolError: not a reply of this version.
    """
    return _convert(_decode_object(data), ReplyEnvelope)


def reply_body(envelope: ReplyEnvelope, request: Request[R]) -> R:
    """Parse the body of the reply to `request`.

    Raises:
        ProtocolError: the body is not valid for the request's verb.
    """
    kind: type[R] = _BY_REQUEST[type(request)].reply
    return _convert(envelope.body, kind)


def _decode_object(data: bytes) -> dict[str, Any]:
    try:
        message = codec.decode(data)
    except codec.DecodeError as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message must be a JSON object")
    if message.get("v") != VERSION:
        raise ProtocolError(f"unsupported version {message.get('v')!r}, expected {VERSION}")
    return message


def _convert(value: Any, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error)) from error
