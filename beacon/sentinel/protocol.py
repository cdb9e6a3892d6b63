"""supervisord's event listener protocol: one event at a time on standard input, READY and RESULT on standard output.

https://supervisord.org/events.html#event-listener-notification-protocol. supervisord keeps events while the listener
does not run or is busy, and gives one that was not acknowledged again. Nothing here knows what an event is good for.
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
    """What supervisord tells: an event's name and its `key:value` pairs."""

    name: str
    fields: Mapping[str, str]

    @property
    def program(self) -> str:
        """Name the program that it is about, "" when it is about none."""
        return self.fields.get("processname", "")


class EventListener:
    """The listener's end of the two pipes."""

    def __init__(self, *, source: int, sink: int, stop: int) -> None:
        """Read events from `source`, answer to `sink`, and end when `stop` becomes readable."""
        self._source = source
        self._sink = sink
        self._stop = stop
        self._ready = False

    def wait(self, timeout_s: float) -> Event | None:
        """Give the next event, None when none comes in time; `done` must follow an event.

        Raises:
            errors.Stopping: the process is to stop.
            errors.StartError: supervisord has closed the pipe.
            errors.PermanentError: what it said is no event.
        """
        if not self._ready:
            _write(self._sink, _READY)
            self._ready = True
        readable, _, _ = select.select([self._source, self._stop], [], [], timeout_s)
        if self._stop in readable:
            raise errors.Stopping("asked to stop")
        return self._read() if readable else None

    def done(self) -> None:
        """Acknowledge the event: it won't come again."""
        _write(self._sink, _DONE)
        self._ready = False

    def _read(self) -> Event:
        head = b""
        while not head.endswith(b"\n"):
            if len(head) > _LONGEST_HEAD:
                raise errors.PermanentError("supervisord sent a line that does not end")
            head += self._take(1)
        name, length = parse_head(head.decode(errors="replace"))
        payload = b""
        while len(payload) < length:
            payload += self._take(length - len(payload))
        return Event(name=name, fields=parse_pairs(payload.decode(errors="replace")))

    def _take(self, count: int) -> bytes:
        data = os.read(self._source, count)
        if not data:
            raise errors.StartError("supervisord has closed the pipe", exit_code=errors.EXIT_UNAVAILABLE)
        return data


def parse_head(line: str) -> tuple[str, int]:
    """Give the name of the event that a line announces, and how many bytes follow.

    Raises:
        errors.PermanentError: it announces none.
    """
    pairs = parse_pairs(line)
    length = pairs.get("len", "")
    if not pairs.get("eventname") or not length.isdecimal():
        raise errors.PermanentError(f"supervisord sent no event: {line[:200]!r}")
    return pairs["eventname"], int(length)


def parse_pairs(text: str) -> dict[str, str]:
    """Read `key:value` pairs that blanks separate; what is none is left out."""
    pairs = (word.partition(":") for word in text.split())
    return {key: value for key, colon, value in pairs if colon}


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
