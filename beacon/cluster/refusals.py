"""Parses error responses of the API server: a Status, or any other body with an error status.

All numbers are bounded here, so that callers can add them to a clock.
"""

import re

import msgspec

from beacon.cluster import failures, parsing

LONGEST_DELAY_S = 3600.0
_LONGEST_MESSAGE = 1000


def refusal(status: int, body: bytes, retry_after: str | None = None) -> failures.ApiRefused:
    """Return the error for a response with an error status; the body may be a Status or anything else."""
    try:
        status_body = _STATUS.decode(body)
    except parsing.UNREADABLE:
        text = " ".join(body[:200].decode(errors="replace").split())
        status_body = _Status(message=text or f"status {status}")
    return _refused(status, status_body, retry_after)


def error_line(data: bytes) -> failures.ApiRefused | failures.Malformed:
    """Return the error for an ERROR event of a watch; a code that is no HTTP error counts as 500."""
    try:
        status_body = _ERROR.decode(data).object
    except parsing.UNREADABLE as error:
        return failures.Malformed(f"the API server sent an ERROR event without a Status: {str(error)[:200]}")
    return _refused(status_body.code if 400 <= status_body.code <= 599 else 500, status_body, None)


def seconds(text: str) -> float | None:
    """Parse a delay of the API server; return at most an hour, or None if it is not a positive number."""
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


def _refused(status: int, status_body: _Status, retry_after: str | None) -> failures.ApiRefused:
    details = _details(status_body)
    delay_s = seconds(bytes(details.retry_after_seconds).decode(errors="replace"))
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        delay_s = seconds(retry_after)
    future = any(cause.reason == "ResourceVersionTooLarge" for cause in details.causes or ())
    return failures.ApiRefused(
        (status_body.message or status_body.reason)[:_LONGEST_MESSAGE] or f"status {status}",
        status=status,
        reason=status_body.reason[:_LONGEST_MESSAGE],
        delay_s=delay_s,
        future=status == 504 and (future or "Too large resource version" in status_body.message),
    )


def _details(status_body: _Status) -> _Details:
    """Return the details of a Status, empty if they can't be read: its message is still useful."""
    try:
        return (_DETAILS.decode(status_body.details) if bytes(status_body.details) else None) or _Details()
    except parsing.UNREADABLE:
        return _Details()
