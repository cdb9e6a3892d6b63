"""Conversion between bytes and plain values: JSON here (the only user of orjson), YAML in `documents` (of yaml).

It knows nothing about the meaning of the values, and imports nothing of Beacon. JSON output is compact UTF-8. YAML is
a separate module because most processes never read it. Start reading at `encode` and `decode`.
"""

from typing import Any

import orjson

Raw = orjson.Fragment  # JSON text that is embedded unchanged


class DecodeError(ValueError):
    """The text can't be parsed; the message states where."""


class EncodeError(TypeError):
    """The value can't be encoded: it is not a plain value, or JSON can't represent one of its numbers or strings."""


def encode(value: object) -> bytes:
    """Encode a plain value or a dataclass as compact JSON.

    Raises:
        EncodeError: JSON can't represent it, e.g. an integer of more than 64 bits or a lone surrogate.
    """
    return _dumped(value, 0)


def encode_pretty(value: object) -> bytes:
    """Encode a plain value as indented JSON that ends with a newline; raises as `encode`."""
    return _dumped(value, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def encode_sorted(value: object) -> bytes:
    """Encode a plain value as compact JSON with sorted keys, so that equal values yield equal bytes."""
    return _dumped(value, orjson.OPT_SORT_KEYS)


def decode(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        DecodeError: the data is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DecodeError(str(error)) from error


def raw(text: str | bytes) -> Raw:
    """Mark JSON text that `encode` embeds unchanged."""
    return orjson.Fragment(text)


def _dumped(value: object, option: int) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as error:
        raise EncodeError(str(error)) from error
