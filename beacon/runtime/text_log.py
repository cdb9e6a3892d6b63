"""The text format of log lines, and the format in which a process logs before it knows the configuration.

A line is `instant LEVEL process event  name=value name=value`. A value that is empty, or contains a blank, a quote, an
equals sign or an unsafe character, is written as a JSON string, so each line can be parsed back; all others are written
as they are. Standard library only: the sentinel and supervisord use this module, too.
"""

import functools
import json
import os
import re
from collections.abc import Callable, Mapping

from beacon.boundary import files, visible

TEXT, JSON = "text", "json"
_LARGEST = 1024 * 1024  # bytes; no larger configuration is accepted
_DEFAULT_PATH = "/config/config.yaml"
# The key in block or flow style, quoted or not, and not in a comment.
_KEY = re.compile(r"""(?m)^(?:[^#\n]|(?<=[^\s])\#)*?(?<![\w-])logFormat["']?[ \t]*:\s*["']?(\w+)""")
_BARE = re.compile(r"""[^\s"=]+""")
_WHO = ("app", "process")


def expected_format(environ: Mapping[str, str] = os.environ) -> str:
    """Return `app.logFormat` as the configuration file has it, without a YAML parser; "json" in doubt.

    It is used for the lines that a process writes before the configuration is validated.
    """
    try:
        data = files.read(environ.get("CONFIG_PATH") or _DEFAULT_PATH, most_bytes=_LARGEST)
    except OSError:
        return JSON
    found = _KEY.search(data.decode(errors="replace"))
    return TEXT if found is not None and found[1] == TEXT else JSON


def render(event: Mapping[str, object], as_json: Callable[[object], str]) -> str:
    """Return one line, without its line feed; `as_json` encodes values other than texts."""
    rest = dict(event)
    who = "/".join(str(rest.pop(name)) for name in _WHO if name in rest)
    name = str(rest.pop("event"))
    head = f"{rest.pop('ts')} {str(rest.pop('level')).upper():<7} {_quoted(who):<8} {_phrase(name)}"
    fields = " ".join(
        f"{field}={_quoted(value if isinstance(value, str) else as_json(value))}" for field, value in rest.items()
    )
    return f"{head}  {fields}".rstrip()


def rendered(event: Mapping[str, object]) -> bytes:
    """Return one line in the expected format, for the processes that do without the logging library."""
    line = render(event, _json) if _expected_once() == TEXT else _json(event)
    return line.encode() + b"\n"


@functools.cache
def _expected_once() -> str:
    return expected_format()


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) and visible.escaped(text) == text else _string(text)


def _phrase(text: str) -> str:
    """Return the name of an event: words with one blank between them stay as they are."""
    words = text.split(" ")
    return text if all(_quoted(word) == word for word in words) else _string(text)


def _string(text: str) -> str:
    return visible.escaped_json(json.dumps(text, ensure_ascii=False))
