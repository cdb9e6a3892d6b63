"""The logging configuration of all processes: one line per event on standard output. The only user of structlog.

A line is a JSON object, or text (`text_log.py`) if `app.logFormat` demands it.

A line is written with one `write` of at most PIPE_BUF bytes, which the kernel never mixes with the line of another
process, and is dropped if that would block (`line_writer.py`). A longer line is shortened field by field and marked as
truncated. Values registered as secrets are masked in all fields. Records of libraries through `logging`, warnings and
above, are written in the same form. The callers decide what to log.
"""

import logging
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from beacon import codec
from beacon.boundary import lazy_import, visible
from beacon.domain import instants
from beacon.runtime import line_writer, text_log

# structlog imports both, and Beacon uses neither of them with it: 6 MB in each process.
lazy_import.defer("asyncio")
with lazy_import.hidden("rich"):
    import structlog

Logger = structlog.typing.FilteringBoundLogger

_LONGEST_LINE = line_writer.AT_ONCE  # bytes, including the line feed
_SHORTEST_SECRET = 4  # shorter values occur in ordinary words by chance
_SHORTEST_FIELD = 64
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_WHO = ("app", "process")
_secrets: tuple[str, ...] = ()  # longest first: one may be part of another
_secrets_lock = threading.Lock()
_counts: list[Callable[[int], object]] = []  # at most one


def configure(
    process: str,
    *,
    level: str = "info",
    format: str = text_log.JSON,  # noqa: A002
    app: str = "",
    fd: int = 1,
) -> None:
    """Configure every logger of this process to write to `fd`.

    `level`, `format` and `app` are app.logLevel, app.logFormat and app.name, once they are known.
    """
    threshold = _LEVELS[level]
    renderer = _render_text if format == text_log.TEXT else _render_json
    head = _Head(process, app)

    def dropped(count: int) -> bytes:
        return renderer(None, "", head(None, "warning", {"event": "log lines dropped", "lines": count}))

    out = _Lines(line_writer.LineWriter(fd, report=dropped, on_drop=_count))
    structlog.configure(
        processors=[head, _mask, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: out,
        cache_logger_on_first_use=False,  # the level is unknown until the store has sent the configuration
    )
    logging.captureWarnings(capture=True)
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[_Bridge()], force=True)


def get(**fields: object) -> Logger:
    """Return a logger that adds `fields` to all its lines."""
    logger: Logger = structlog.get_logger(**fields)
    return logger


def on_drop(count: Callable[[int], object]) -> None:
    """Register a function that is called with the number of lines whenever some are dropped."""
    _counts[:] = [count]


def _count(lost: int) -> None:
    for count in _counts:
        count(lost)


def register_secret(value: str) -> None:
    """Mask this value in every line from now on."""
    global _secrets  # noqa: PLW0603  read without the lock by every line
    if len(value) >= _SHORTEST_SECRET:
        with _secrets_lock:
            _secrets = tuple(sorted({*_secrets, value}, key=len, reverse=True))


def forget_secret(value: str) -> None:
    """Mask this value no longer: it is not valid any more, and a process that renews tokens must not grow."""
    global _secrets  # noqa: PLW0603  read without the lock by every line
    with _secrets_lock:
        _secrets = tuple(secret for secret in _secrets if secret != value)


def masked(text: str) -> str:
    """Return text with all registered secrets masked, for use outside the log."""
    return str(_masked(text, _secrets))


class _Lines:
    """Writes rendered lines of any level."""

    def __init__(self, writer: line_writer.LineWriter) -> None:
        self._writer = writer

    def msg(self, line: bytes) -> None:
        """Write one line, or drop it."""
        self._writer.write(line)

    debug = info = warning = error = critical = exception = fatal = log = msg


class _Head:
    """Adds the fields that every line begins with."""

    def __init__(self, process: str, app: str) -> None:
        self._who = {"app": app, "process": process} if app else {"process": process}

    def __call__(self, _: object, method: str, event: MutableMapping[str, object]) -> dict[str, object]:
        now = instants.now_rfc3339()
        name = event.pop("event", "")
        level = "error" if method in ("exception", "critical") else method
        return {"ts": now, "level": level, **self._who, "event": name, **event}


class _Bridge(logging.Handler):
    """Forwards the log records of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a library's record in the format of Beacon."""
        method = "error" if record.levelno >= logging.ERROR else "warning"
        getattr(get(), method)(record.getMessage(), logger=record.name)


def _mask(_: object, __: str, event: MutableMapping[str, object]) -> Mapping[str, object]:
    secrets = _secrets
    return _masked(event, secrets) if secrets else event


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item, secrets) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _render_json(_: object, __: str, event: Mapping[str, object]) -> bytes:
    line = _visible(_encode(event))
    if len(line) >= _LONGEST_LINE:
        line = _shorten(codec.decode(line), _json_line)
    return line + b"\n"


def _json_line(event: Mapping[str, object]) -> bytes:
    return _visible(codec.encode(event))


def _visible(line: bytes) -> bytes:
    """Escape characters that would control a terminal that shows the log; JSON escapes those of plain ASCII."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return visible.escaped_json(line.decode()).encode()


def _encode(event: Mapping[str, object]) -> bytes:
    try:
        return codec.encode(event)
    except TypeError:  # a value that JSON does not support, or text that is not Unicode
        return codec.encode({_text(key): _plain(value) for key, value in event.items()})


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | float) else _text(value)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def _shorten(event: dict[str, object], encode: Callable[[Mapping[str, object]], bytes]) -> bytes:
    """Halve the longest value until the line fits; if all values are short, keep only the standard fields."""
    event["truncated"] = True
    while len(line := encode(event)) >= _LONGEST_LINE:
        name = max(event, key=lambda key: len(codec.encode(event[key])))
        value = event[name]
        text = value if isinstance(value, str) else codec.encode(value).decode()
        if len(text) <= _SHORTEST_FIELD:
            event = {key: event[key] for key in ("ts", "level", *_WHO, "event", "truncated") if key in event}
            continue
        quarter = len(text) // 4  # the end of a traceback is most useful, the beginning shows its origin
        event[name] = f"{text[:quarter]} [...] {text[-quarter:]}"
    return line


def _render_text(_: object, __: str, event: Mapping[str, object]) -> bytes:
    plain = codec.decode(_encode(event))
    line = _text_line(plain)
    return (line if len(line) < _LONGEST_LINE else _shorten(plain, _text_line)) + b"\n"


def _text_line(event: Mapping[str, object]) -> bytes:
    return text_log.render(event, lambda value: codec.encode(value).decode()).encode()
