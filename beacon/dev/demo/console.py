"""Output of the demo: sentences, one line for each notification, one sentence for each problem.

It formats lines of the test endpoint's record and of Beacon's log. It must not start or change anything.
"""

import os
import textwrap
import time
from datetime import datetime
from typing import Any, TextIO

Json = dict[str, Any]

_COLORS = {"created": "32", "updated": "36", "deleted": "35"}
_BOLD, _FAINT, _WARN = "1", "2", "33"
_ROW = "  {time:12}  {endpoint:10}  {change:8}  {kind:12}  {object:24}  {value:12}  {id:8}  {latency:>9}"
_WIDTH = 110
_REPEAT_AFTER_S = 60.0
_OF_ENDPOINTS = {
    "breaker opened": "The endpoint {endpoint} is down ({last}). Beacon keeps the events and retries.",
    "breaker closed": "The endpoint {endpoint} answers again. The pending events are delivered now.",
    "endpoint refuses events": "The endpoint {endpoint} refuses events ({code}).",
    "endpoint parked": "Beacon has parked the endpoint {endpoint} ({cause}). It keeps the events, and sends probes.",
    "parking ended": "The endpoint {endpoint} is no longer parked. What it refused is delivered now.",
}
_HIDDEN = frozenset({"ts", "level", "process", "event", "code", "pid"})


class Console:
    """Writes for a human reader."""

    def __init__(self, stream: TextIO) -> None:
        """Use a stream, with colors if it is a terminal."""
        self._stream = stream
        self._colored = stream.isatty() and not os.environ.get("NO_COLOR")
        self._shown_at: dict[str, float] = {}
        self._failing: set[str] = set()

    def say(self, text: str = "") -> None:
        """Write a sentence of the demo itself."""
        self._write(textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False))

    def verbatim(self, text: str) -> None:
        """Write a text to copy, on a separate line."""
        self._write("  " + self._paint(text, _BOLD))

    def head(self) -> None:
        """Write the column titles."""
        names = ("time", "endpoint", "change", "kind", "object", "value", "id", "latency")
        self._write(self._paint(_ROW.format(**{name: name.upper() for name in names}), _FAINT))

    def request(self, endpoint: str, line: Json) -> None:
        """Write a request as the test endpoint recorded it."""
        event = line["event"]
        at = datetime.fromisoformat(line["at"])
        if event is None:
            self._write(
                self._paint(f"  The endpoint {endpoint} refused a request: {line['answer']} {line['note']}", _WARN)
            )
            return
        change = event["type"].rpartition(".")[2]
        where = f"{event['namespace']}/{event['name']}".lstrip("/")
        row = _ROW.format(
            time=f"{at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03d}",
            endpoint=endpoint,
            change=change,
            kind=event["kind"],
            object=where,
            value=event["value"],
            id=event["id"][:8],
            latency=_duration(at.timestamp() - event["time_s"]),
        )
        self._write(self._paint(row, _COLORS.get(change, "")) + self._paint(_remark(line), _WARN))

    def log_line(self, line: Json) -> None:
        """Write a log line of Beacon if a user needs it; drop all others."""
        text = self._described(line)
        if text:
            self.trouble(text)

    def trouble(self, text: str) -> None:
        """Write a problem as one sentence, at most once a minute."""
        now = time.monotonic()
        if now - self._shown_at.get(text, -_REPEAT_AFTER_S) >= _REPEAT_AFTER_S:
            self._shown_at[text] = now
            self._write(self._paint(f"! {text}", _WARN))

    def _described(self, line: Json) -> str:
        event, process, name = line.get("event", ""), line.get("process", "a process"), line.get("endpoint", "")
        if event == "watch state changed":
            return self._describe_watch(line)
        if event in _OF_ENDPOINTS:
            return _OF_ENDPOINTS[event].format_map({"last": "", "code": "", "cause": "", "endpoint": name, **line})
        if line.get("level") not in ("warning", "error", "critical"):
            return ""
        if event in ("configuration", "configuration refused"):
            return f"Configuration problem: {line.get('problem', '')}"
        if event == "failed":
            return f"The {process} has ended: {line.get('reason', '')}. supervisord restarts it."
        details = ", ".join(f"{key} {value}" for key, value in line.items() if key not in _HIDDEN and value != "")
        return f"The {process} reports: {event}" + (f" ({details})" if details else "")

    def _describe_watch(self, line: Json) -> str:
        scope, ill = line.get("scope", ""), line.get("level") == "warning"
        if ill:
            self._failing.add(scope)
            return f"{scope} can't be watched now ({line.get('state')}): {line.get('reason')}. The watcher retries."
        if line.get("state") == "watching" and scope in self._failing:
            self._failing.discard(scope)
            return f"{scope} is watched again."
        return ""

    def _paint(self, text: str, color: str) -> str:
        return f"\033[{color}m{text}\033[0m" if self._colored and color and text else text

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _remark(line: Json) -> str:
    """Return the unusual properties of a request."""
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
