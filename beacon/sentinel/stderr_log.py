"""The sentinel's lines in the log: the same form as `log.py` gives the other processes', without its library.

They go to standard error, because standard output is the listener's protocol; supervisord.conf leads that to where the
others' lines go. Nothing else may write there: Python's own words on an unexpected end are made a line, too.
"""

import json
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from beacon import errors
from beacon.domain import instants
from beacon.runtime import line_writer

_LONGEST_VALUE = 1500  # characters; two of them fit into a line of PIPE_BUF bytes
_STDERR = 2


def say(level: str, event: str, **fields: Any) -> None:
    """Write one line, or drop it if that would have to wait."""
    _writer.write(_line(level, event, fields))


def _line(level: str, event: str, fields: Mapping[str, Any]) -> bytes:
    now = instants.now_rfc3339()
    said = {"ts": now, "level": level, "process": "sentinel", "event": event}
    line = json.dumps(said | {key: _bounded(value) for key, value in fields.items()}, separators=(",", ":"))
    return line.encode() + b"\n"


_writer = line_writer.LineWriter(_STDERR, report=lambda count: _line("warning", "log lines dropped", {"lines": count}))


def say_last(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say why the process ends unexpectedly, in place of Python's own words: for `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    say("error", "failed unexpectedly", error=kind.__name__, traceback=text, code=errors.EXIT_FAILURE)


def _bounded(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= _LONGEST_VALUE:
        return value
    half = _LONGEST_VALUE // 2
    return f"{value[:half]} [...] {value[-half:]}"
