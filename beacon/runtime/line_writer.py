"""Writes whole lines to a file descriptor that may have no reader.

A write to a pipe, a socket or a terminal whose reader has stopped would block the caller. So a line that can't be
written is dropped and counted, and the next written line is preceded by a line with the number of dropped ones. For a
reader that is only slower than a burst, the writer waits within a time budget. The descriptor stays in blocking mode,
because other processes may share it: `poll` reports whether it accepts PIPE_BUF bytes, and no more is written at once.
Standard library only: the sentinel and supervisord use this module, too.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator

AT_ONCE = select.PIPE_BUF  # bytes that are written to a pipe atomically
_PATIENCE_S = 1.0
_SHARE = 0.05  # of all time may be spent on waiting for a slow reader


class LineWriter:
    """The only writer of a descriptor in a process; thread-safe."""

    def __init__(
        self,
        fd: int,
        *,
        report: Callable[[int], bytes],
        on_drop: Callable[[int], object] = lambda _: None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Write to `fd`. `report` renders the line about dropped lines, `on_drop` receives the number of each drop."""
        self.dropped = 0
        self._fd = fd
        self._report = report
        self._on_drop = on_drop
        self._lock = threading.RLock()  # the garbage collector may log in the middle of a write
        self._unreported = 0
        self._rest = b""  # of a part that was written incompletely
        self._patience_s = self._budget_s = patience_s
        self._waited_at = time.monotonic()
        self._stuck = False
        self._ready = select.poll()
        self._ready.register(fd, select.POLLOUT)

    def write(self, data: bytes) -> None:
        """Write the lines of `data`, or drop them from the first one that can't be written."""
        with self._lock:
            lost = 0
            for part in _parts(data):
                lost += _lines_in(part) if lost or not self._put(part) else 0
            self.dropped += lost
            self._unreported += lost
        if lost:
            self._on_drop(lost)

    def _put(self, part: bytes) -> bool:
        """Write pending bytes and then a part; return False if nothing of the part was written."""
        if not self._flush():
            return False
        if self._unreported:
            if not self._begin(self._report(self._unreported)):
                return False
            self._unreported = 0
        return self._begin(part)

    def _begin(self, part: bytes) -> bool:
        """Write as much of a part as the descriptor accepts; the rest is written first next time, so no line is cut."""
        if self._rest:
            return False
        self._rest = part
        if self._flush() or self._rest is not part:
            return True
        self._rest = b""
        return False

    def _flush(self) -> bool:
        """Write the pending bytes; return False if some remain."""
        try:
            while self._rest and self._has_room():
                sent = os.write(self._fd, self._rest[:AT_ONCE])
                self._rest = self._rest[sent:]
        except OSError:  # the reader is gone, or the volume is full
            return False
        return not self._rest

    def _has_room(self) -> bool:
        """Return True if AT_ONCE bytes can be written; wait for that while the budget lasts and the reader reads."""
        if self._ready.poll(0):
            self._stuck = False
            return True
        if self._stuck:
            return False
        began = time.monotonic()
        self._budget_s = min(self._patience_s, self._budget_s + (began - self._waited_at) * _SHARE)
        self._stuck = not self._ready.poll(int(self._budget_s * 1000))
        self._waited_at = time.monotonic()
        self._budget_s = max(0.0, self._budget_s - (self._waited_at - began))
        return not self._stuck


def _parts(data: bytes) -> Iterator[bytes]:
    """Split into parts of whole lines that may be written at once; a longer line is a part of its own."""
    begin = 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + AT_ONCE) + 1
        if end == 0:
            end = data.find(b"\n", begin) + 1 or len(data)
        yield data[begin:end]
        begin = end


def _lines_in(part: bytes) -> int:
    return part.count(b"\n") or 1
