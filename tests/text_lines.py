"""Parses log lines of the text format back, as a log pipeline would."""

import json
import re

_STRING = r'"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(rf'(\S+) (\S+) +({_STRING}|\S+) +({_STRING}|[^\s"=]+(?: [^\s"=]+)*)(?:  |$)')
_FIELD = re.compile(rf'([^\s"=]+)=({_STRING}|[^\s"=]+)(?: |$)')


def parse(line: str) -> dict[str, str]:
    """Return the fields of a line; all values are texts. Raises ValueError if any part of it is not of the format."""
    head = _HEAD.match(line)
    if head is None:
        raise ValueError(f"not a log line: {line!r}")
    instant, level, process, event = map(_plain, head.groups())
    fields = {"ts": instant, "level": level.lower(), "process": process, "event": event}
    at = head.end()
    while at < len(line):
        field = _FIELD.match(line, at)
        if field is None:
            raise ValueError(f"not a field: {line[at:]!r}")
        fields[field[1]] = _plain(field[2])
        at = field.end()
    return fields


def _plain(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
