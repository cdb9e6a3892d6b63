"""supervisord's event listener protocol: one event at a time on standard input, READY and RESULT on standard output.

https://supervisord.org/events.html#event-listener-notification-protocol. supervisord buffers events while the
listener is down or busy, and sends an unacknowledged event again. This module does not interpret events.
"""

import os
import select
from collections.abc import Mapping
from dataclasses import dataclass

from beacon import errors

_READY = b"READY\n"
_DONE = b"RESULT 2\nOK"
_LONGEST_HEAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of supervisord: its name and its `key:value` pairs."""

    name: str
    fields: Mapping[str, str]

    @property
    def program(self) -> str:
        """Return the program that the event is about, "" if there is none."""
        return self.fields.get("processname", "")


class EventListener:
    """The listener's end of the two pipes."""

    def __init__(self, *, source: int, sink: int, stop: int) -> None:
        """Read events from `source`, acknowledge them on `sink`, and stop when `stop` becomes readable."""
        self._source = source
        self._sink = sink
        self._stop = stop
        self._ready = False

    def wait(self, timeout_s: float) -> Event | None:
        """Return the next event, or None after `timeout_s`; the caller must call `done` after an event.

        Raises:
            errors.Stopping: the process is to stop.
            errors.StartError: supervisord has closed the pipe.
            errors.PermanentError: the received bytes are not an event.
        """
        if not self._ready:
            _write(self._sink, _READY)
            self._ready = True
        readable, _, _ = select.select([self._source, self._stop], [], [], timeout_s)
        if self._stop in readable:
            raise errors.Stopping("asked to stop")
        return self._read() if readable else None

    def done(self) -> None:
        """Acknowledge the event, so that supervisord does not send it again."""
        _write(self._sink, _DONE)
        self._ready = False

    def _read(self) -> Event:
        head = b""
        while not head.endswith(b"\n"):
            if len(head) > _LONGEST_HEAD:
                raise errors.PermanentError("supervisord sent a line without an end")
            head += self._take(1)
        name, length = parse_head(head.decode(errors="replace"))
        payload = b""
        while len(payload) < length:
            payload += self._take(length - len(payload))
        return Event(name=name, fields=parse_pairs(payload.decode(errors="replace")))

    def _take(self, count: int) -> bytes:
        data = os.read(self._source, count)
        if not data:
            raise errors.StartError("supervisord closed the pipe", exit_code=errors.EXIT_UNAVAILABLE)
        return data


def parse_head(line: str) -> tuple[str, int]:
    """Return the name of the event that a header line announces, and the length of its payload.

    Raises:
        errors.PermanentError: the line is not a header.
    """
    pairs = parse_pairs(line)
    length = pairs.get("len", "")
    if not pairs.get("eventname") or not length.isdecimal():
        raise errors.PermanentError(f"supervisord sent an invalid event header: {line[:200]!r}")
    return pairs["eventname"], int(length)


def parse_pairs(text: str) -> dict[str, str]:
    """Parse `key:value` pairs separated by spaces; skip other words."""
    pairs = (word.partition(":") for word in text.split())
    return {key: value for key, colon, value in pairs if colon}


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
