"""What the demo puts on the screen: sentences, one line for each notification, one sentence for each trouble.

It only words things. What it gets are lines of the test endpoint's record and of Beacon's log.
"""

import os
import textwrap
import time
from datetime import datetime
from typing import Any, TextIO

Json = dict[str, Any]

_COLOURS = {"created": "32", "updated": "36", "deleted": "35"}
_BOLD, _FAINT, _WARN = "1", "2", "33"
_ROW = "  {time:12}  {change:8}  {kind:12}  {object:28}  {value:16}  {id:8}  {latency:>9}"
_WIDTH = 110
_SAY_AGAIN_S = 60.0
_HIDDEN = frozenset({"ts", "level", "process", "event", "code", "pid"})


class Screen:
    """Writes for a person."""

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream, in colours if it is a terminal."""
        self._stream = stream
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._said: dict[str, float] = {}
        self._ill: set[str] = set()

    def say(self, text: str = "") -> None:
        """Write a sentence of the demo itself."""
        self._write(textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False))

    def verbatim(self, text: str) -> None:
        """Write something to be copied, on a line of its own."""
        self._write("  " + self._paint(text, _BOLD))

    def head(self) -> None:
        """Name the columns."""
        names = {"time": "TIME", "change": "CHANGE", "kind": "KIND", "object": "OBJECT", "value": "VALUE"}
        self._write(self._paint(_ROW.format(**names, id="ID", latency="LATENCY"), _FAINT))

    def request(self, line: Json) -> None:
        """Show a request as the test endpoint recorded it."""
        event = line["event"]
        at = datetime.fromisoformat(line["at"])
        if event is None:
            self._write(self._paint(f"  The endpoint refused a request: {line['answer']} {line['note']}", _WARN))
            return
        change = event["type"].rpartition(".")[2]
        where = f"{event['namespace']}/{event['name']}".lstrip("/")
        row = _ROW.format(
            time=f"{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03d}",
            change=change,
            kind=event["kind"],
            object=where,
            value=event["value"],
            id=event["id"][:8],
            latency=_duration(at.timestamp() - event["time_s"]),
        )
        self._write(self._paint(row, _COLOURS.get(change, "")) + self._paint(_remark(line), _WARN))

    def log_line(self, line: Json) -> None:
        """Show what somebody should know of a line of Beacon's log; the rest is dropped."""
        text = self._worth_saying(line)
        if text:
            self.trouble(text)

    def trouble(self, text: str) -> None:
        """Say what is wrong, in one sentence, but not over and over."""
        now = time.monotonic()
        if now - self._said.get(text, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._said[text] = now
            self._write(self._paint(f"! {text}", _WARN))

    def _worth_saying(self, line: Json) -> str:
        event, process = line.get("event", ""), line.get("process", "a process")
        if event == "watch state changed":
            return self._of_a_watch(line)
        if event == "breaker opened":
            return f"The endpoint is down ({line.get('last')}). Beacon keeps what it has to tell, and tries it again."
        if event == "breaker closed":
            return "The endpoint answers again: what waited is delivered now."
        if line.get("level") not in ("warning", "error", "critical"):
            return ""
        if event in ("configuration", "configuration refused"):
            return f"The configuration: {line.get('problem', '')}"
        if event == "failed":
            return f"The {process} has ended: {line.get('reason', '')}. supervisord starts it again."
        details = ", ".join(f"{key} {value}" for key, value in line.items() if key not in _HIDDEN and value != "")
        return f"The {process} says: {event}" + (f" ({details})" if details else "")

    def _of_a_watch(self, line: Json) -> str:
        scope, ill = line.get("scope", ""), line.get("level") == "warning"
        if ill:
            self._ill.add(scope)
            return f"{scope} can't be watched now ({line.get('state')}): {line.get('reason')}. The watcher tries again."
        if line.get("state") == "watching" and scope in self._ill:
            self._ill.discard(scope)
            return f"{scope} is watched again."
        return ""

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._coloured and colour and text else text

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _remark(line: Json) -> str:
    """Say what is unusual about a request."""
    good = isinstance(line["answer"], int) and line["answer"] < 300
    marks = (
        (f"answered {line['answer']}", not good),
        (f"attempt {line['attempt']}", line["attempt"] > 1),
        ("duplicate", line["duplicate"]),
        ("redelivered", line["event"]["redelivered"]),
    )
    return "".join(f"  {text}" for text, applies in marks if applies)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"
