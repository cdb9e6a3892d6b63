"""Answers by which the API server refuses: a Status, or anything else that came with another status than 200.

Every number in one is bounded here, so that no caller meets one that it can't add to a clock.
"""

import re

import msgspec

from beacon.cluster import failures, parsing

LONGEST_DELAY_S = 3600.0
_LONGEST_MESSAGE = 1000


def refusal(status: int, body: bytes, retry_after: str | None = None) -> failures.ApiRefused:
    """Return the error for an answer that is not 200; the body may be a Status or anything else."""
    try:
        said = _STATUS.decode(body)
    except parsing.UNREADABLE:
        text = " ".join(body[:200].decode(errors="replace").split())
        said = _Status(message=text or f"status {status}")
    return _refused(status, said, retry_after)


def error_line(data: bytes) -> failures.ApiRefused | failures.Malformed:
    """Return the error for an ERROR line of a watch; a code that is no HTTP error counts as 500."""
    try:
        said = _ERROR.decode(data).object
    except parsing.UNREADABLE as error:
        return failures.Malformed(f"the API server sent an ERROR line without a Status: {str(error)[:200]}")
    return _refused(said.code if 400 <= said.code <= 599 else 500, said, None)


def seconds(text: str) -> float | None:
    """Return a delay as the API server writes it, at most an hour; None when it is not a positive number."""
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]{1,4})?", text):
        return None
    return min(float(text), LONGEST_DELAY_S) or None


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    retry_after_seconds: msgspec.Raw = msgspec.Raw(b"")
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""
    code: int = 0
    details: msgspec.Raw = msgspec.Raw(b"")


class _ErrorLine(msgspec.Struct, frozen=True):
    object: _Status = _Status()


_STATUS = msgspec.json.Decoder(_Status)
_ERROR = msgspec.json.Decoder(_ErrorLine)
_DETAILS = msgspec.json.Decoder(_Details | None)


def _refused(status: int, said: _Status, retry_after: str | None) -> failures.ApiRefused:
    details = _details(said)
    delay_s = seconds(bytes(details.retry_after_seconds).decode(errors="replace"))
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        delay_s = seconds(retry_after)
    future = any(cause.reason == "ResourceVersionTooLarge" for cause in details.causes or ())
    return failures.ApiRefused(
        (said.message or said.reason)[:_LONGEST_MESSAGE] or f"status {status}",
        status=status,
        reason=said.reason[:_LONGEST_MESSAGE],
        delay_s=delay_s,
        future=status == 504 and (future or "Too large resource version" in said.message),
    )


def _details(said: _Status) -> _Details:
    """Return the details of a Status; none when they can't be read, because its message counts more."""
    try:
        return (_DETAILS.decode(said.details) if bytes(said.details) else None) or _Details()
    except parsing.UNREADABLE:
        return _Details()
