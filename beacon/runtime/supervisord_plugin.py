"""A plugin of supervisord that writes the programs' log lines without blocking.

supervisord has one thread, and opens the log files of its programs by path. A pipe without a reader blocks it forever,
and with it all programs, because their pipes fill up; a socket can't be opened by path at all. supervisord.conf loads
this module as an RPC interface, supervisord's extension point, before any program starts: output to /dev/fd/1 and
/dev/fd/2 is written to these descriptors directly, by `line_writer`. Nothing else in supervisord changes.
"""

import io
import sys
from datetime import UTC, datetime
from typing import Any

from supervisor import loggers

from beacon.runtime import line_writer, text_log

_DESCRIPTORS = {"/dev/fd/1": 1, "/dev/stdout": 1, "/dev/fd/2": 2, "/dev/stderr": 2}
_LONGEST = 3000  # characters of a line that supervisord prints


class Interface:
    """The XML-RPC interface; each public method is available under the prefix `beacon.`."""

    def __init__(self, streams: "dict[int, OutputStream]") -> None:
        """Report on these streams."""
        self._streams = streams

    def droppedLines(self) -> int:  # noqa: N802  as supervisord's own methods are named
        """Return the number of log lines that could not be written since supervisord started.

        @return int result     The number of lines.
        """
        return sum(stream.writer.dropped for stream in self._streams.values())


class OutputStream:
    """The file object that supervisord writes to."""

    def __init__(self, fd: int) -> None:
        """Write to an open descriptor."""
        self.writer = line_writer.LineWriter(fd, report=_dropped)

    def write(self, data: bytes) -> None:
        """Write lines, or drop them."""
        self.writer.write(data)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def close(self) -> None:
        """Do nothing: other programs write to the same descriptor."""


class _Text(io.TextIOBase):
    """The output of supervisord itself, for instance an error about a closed connection: a log line for each line.

    A plain write to the descriptor would block supervisord while its output is not read.
    """

    def __init__(self, stream: OutputStream) -> None:
        self._stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(None, lines):
            self._stream.write(_line("error", "printed", text=line[:_LONGEST]))
        return len(text)


_streams: dict[int, OutputStream] = {}


def make(_supervisord: object, **_options: object) -> Interface:
    """Replace supervisord's writer of the programs' lines; for `supervisor.rpcinterface_factory`."""
    if not _streams:  # supervisord calls this again when it reloads its configuration
        _streams.update({fd: OutputStream(fd) for fd in (1, 2)})
        sys.stdout, sys.stderr = _Text(_streams[1]), _Text(_streams[2])
        _redirect_log_files(loggers.handle_file)
    return Interface(_streams)


def _redirect_log_files(by_path: Any) -> None:
    def handle_file(logger: Any, filename: str, fmt: str, *more: Any, **options: Any) -> None:
        if filename not in _DESCRIPTORS:
            by_path(logger, filename, fmt, *more, **options)
            return
        handler = loggers.StreamHandler(_streams[_DESCRIPTORS[filename]])
        handler.setFormat(fmt)
        handler.setLevel(logger.level)
        logger.addHandler(handler)

    loggers.handle_file = handle_file


def _dropped(count: int) -> bytes:
    return _line("warning", "log lines dropped", lines=count)


def _line(level: str, event: str, **fields: object) -> bytes:
    now = datetime.now(tz=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return text_log.rendered({"ts": now, "level": level, "process": "supervisord", "event": event, **fields})
