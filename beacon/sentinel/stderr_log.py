"""The sentinel's log: lines in the same format as those of `log.py`, without its library.

They are written to standard error, because standard output carries the listener's protocol; supervisord.conf redirects
it to the log of the other processes. No other text may go there: an uncaught exception becomes a log line, too.
"""

import traceback
from collections.abc import Mapping
from types import TracebackType

from beacon import errors
from beacon.domain import instants
from beacon.runtime import line_writer, text_log

_LONGEST_VALUE = 1500  # characters; two of them fit into a line of PIPE_BUF bytes
_STDERR = 2


def write(level: str, event: str, **fields: object) -> None:
    """Write one line, or drop it if writing would block."""
    _writer.write(_line(level, event, fields))


def _line(level: str, event: str, fields: Mapping[str, object]) -> bytes:
    now = instants.now_rfc3339()
    line_fields = {"ts": now, "level": level, "process": "sentinel", "event": event}
    return text_log.rendered(line_fields | {key: _bounded(value) for key, value in fields.items()})


_writer = line_writer.LineWriter(_STDERR, report=lambda count: _line("warning", "log lines dropped", {"lines": count}))


def write_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log an uncaught exception in place of Python's traceback: for `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    write("error", "failed unexpectedly", error=kind.__name__, traceback=text, code=errors.EXIT_FAILURE)


def _bounded(value: object) -> object:
    if not isinstance(value, str) or len(value) <= _LONGEST_VALUE:
        return value
    half = _LONGEST_VALUE // 2
    return f"{value[:half]} [...] {value[-half:]}"
