"""Bytes and text to plain values and back: JSON here (door: orjson), YAML in `documents` (door: yaml).

It knows nothing of what the values mean, and imports nothing of Beacon. JSON that is written is compact and UTF-8. YAML
is apart because most processes never read it. Start reading at `encode` and `decode`.
"""

from typing import Any

import orjson


class DecodeError(ValueError):
    """The text can't be parsed; the message states where."""


class EncodeError(TypeError):
    """The value can't be written: it is no plain value, or JSON has no form for a number or a text of it."""


def encode(value: object) -> bytes:
    """Render a plain value or a dataclass as compact JSON.

    Raises:
        EncodeError: JSON has no form for it, e.g. an integer of more than 64 bits, or half a surrogate pair.
    """
    return _dumped(value, 0)


def encode_pretty(value: object) -> bytes:
    """Render a plain value as indented JSON that ends with a newline; raises as `encode`."""
    return _dumped(value, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def encode_sorted(value: object) -> bytes:
    """Render a plain value as compact JSON with sorted keys: equal values give equal bytes."""
    return _dumped(value, orjson.OPT_SORT_KEYS)


def decode(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        DecodeError: it is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DecodeError(str(error)) from error


def raw(text: str | bytes) -> orjson.Fragment:
    """Mark JSON text that is to be embedded by `encode` as it stands."""
    return orjson.Fragment(text)


def _dumped(value: object, option: int) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as error:
        raise EncodeError(str(error)) from error
