"""Prints one line on standard output for each ended request, for people or as JSON.

It must not change the record, and must not print complete bodies or headers, which may contain a token.
"""

import dataclasses
import enum
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from beacon import codec
from beacon.dev.endpoint import record

Write = Callable[[record.SinkAttempt], None]

_COLORS = {"created": "32", "updated": "36", "deleted": "35"}
_GOOD, _AGAIN, _BAD, _FAINT = "32", "33", "31", "2"
_VALUE_WIDTH = 24


class Format(enum.StrEnum):
    """The format of the printed lines."""

    PRETTY = "pretty"
    JSON = "json"
    NONE = "none"


def writer(form: Format, stream: TextIO | None = None) -> Write | None:
    """Return a function that writes a line for an attempt; None for the format `none`."""
    if form is Format.NONE:
        return None
    out = stream or sys.stdout
    colored = out.isatty() and not os.environ.get("NO_COLOR")

    def write(attempt: record.SinkAttempt) -> None:
        line = pretty(attempt, colored=colored) if form is Format.PRETTY else codec.encode(plain(attempt)).decode()
        out.write(f"{line}\n")
        out.flush()

    return write


def pretty(attempt: record.SinkAttempt, *, colored: bool) -> str:
    """Render an attempt as one line: time, type, kind, object, annotation's value, id, attempt number, answer."""

    def paint(text: str, color: str) -> str:
        return f"\033[{color}m{text}\033[0m" if colored and color else text

    at_s = attempt.request.at_s
    clock = f"{time.strftime('%H:%M:%S', time.localtime(at_s))}.{int(at_s * 1000) % 1000:03d}"
    answer = paint(str(attempt.answer), _color(attempt.answer))
    event = attempt.event
    if event is None:
        request = f"{attempt.request.method} {attempt.request.path}"
        return f"{paint(clock, _FAINT)}  {request}  {answer}  {attempt.note}".rstrip()
    change = event.type.rpartition(".")[2]
    where = f"{event.namespace}/{event.name}".lstrip("/") or event.key
    value = event.value if len(event.value) <= _VALUE_WIDTH else f"{event.value[: _VALUE_WIDTH - 1]}…"
    columns = (
        paint(clock, _FAINT),
        paint(f"{change:8}", _COLORS.get(change, "")),
        f"{event.kind:18}",
        f"{where:36}",
        f"{value:{_VALUE_WIDTH}}",
        paint(event.id[:8], _FAINT),
        f"#{attempt.number}",
        answer,
        *(paint(mark, _BAD) for mark in _marks(attempt)),
    )
    return "  ".join(columns)


def plain(attempt: record.SinkAttempt) -> dict[str, Any]:
    """Return an attempt as plain values."""
    request = attempt.request
    return {
        "at": timestamp(request.at_s),
        "method": request.method,
        "path": request.path,
        "request_id": request.header("x-request-id"),
        "attempt": attempt.number,
        "answer": attempt.answer,
        "duration_s": round(attempt.ended_s - request.started_s, 6),
        "duplicate": attempt.duplicate,
        "note": attempt.note,
        "event": dataclasses.asdict(attempt.event) if attempt.event else None,
    }


def timestamp(at_s: float) -> str:
    """Render an instant as RFC 3339 in UTC, to the microsecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_s))}.{int(at_s % 1 * 1e6):06d}Z"


def _marks(attempt: record.SinkAttempt) -> list[str]:
    redelivered = attempt.event is not None and attempt.event.redelivered
    shown = (("duplicate", attempt.duplicate), ("redelivered", redelivered), (attempt.note, bool(attempt.note)))
    return [text for text, applies in shown if applies]


def _color(answer: record.Answer | None) -> str:
    if not isinstance(answer, int):
        return _AGAIN
    if answer < 300:
        return _GOOD
    return _AGAIN if answer in {408, 425, 429} or answer >= 500 else _BAD
