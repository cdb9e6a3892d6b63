"""Conversion of plain values from YAML, JSON or keyword arguments to typed ones; reports all problems at once.

Pure. It parses numbers and texts and must not know the meaning of a setting.
"""

import difflib
import enum
from collections.abc import Callable, Mapping
from typing import Any

from beacon import errors

Reader = Callable[[object], Any]


def read(plain: object, readers: Mapping[str, Reader], *, where: str = "") -> dict[str, Any]:
    """Convert a mapping, with one reader for each known key.

    Raises:
        ConfigError: with one line for every unknown key and unusable value.
    """
    if not isinstance(plain, Mapping):
        raise errors.ConfigError([f"{where or 'this'} must be a mapping"])
    prefix = f"{where}." if where else ""
    problems: list[str] = []
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if key not in readers:
            problems.append(f"{prefix}{key}: unknown{_nearest(str(key), readers)}")
            continue
        try:
            found[key] = readers[key](value)
        except ValueError as error:
            problems.append(f"{prefix}{key}: {error}, not {value!r}")
        except errors.ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise errors.ConfigError(problems)
    return found


def number(least: float = 0.0, most: float = float("inf")) -> Reader:
    """Return a reader of numbers between two bounds."""

    def reader(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return float(value)

    return reader


def integer(least: int, most: int) -> Reader:
    """Return a reader of integers between two bounds."""

    def reader(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return reader


def choice(words: type[enum.StrEnum]) -> Reader:
    """Return a reader of the values of an enumeration."""

    def reader(value: object) -> enum.StrEnum:
        if not isinstance(value, str) or value not in list(words):
            raise ValueError(f"must be one of {', '.join(words)}")
        return words(value)

    return reader


def optional(reader: Reader) -> Reader:
    """Return a reader that also accepts null."""
    return lambda value: None if value is None else reader(value)


def text(value: object) -> str:
    """Return a text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004  one kind of error for every unusable value
    return value


def flag(value: object) -> bool:
    """Return a boolean. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return a tuple from a list of texts. Raises ValueError."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Return pairs from a mapping of texts. Raises ValueError."""
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ValueError("must be a mapping of texts")
    return tuple(value.items())


def _nearest(key: str, known: Mapping[str, Reader]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(sorted(known))})"
