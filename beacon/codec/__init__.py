"""Bytes and text to plain values and back: the one door of orjson and yaml.

It knows nothing of what the values mean. JSON that Beacon writes is compact and UTF-8; YAML that it reads is the safe
subset, and a key that stands twice in one mapping is an error, because the second would silently win.
"""

from typing import Any

import orjson

from beacon import slim

slim.unrun("beacon.codec.documents")  # most processes never see YAML
from beacon.codec import documents, refusing  # noqa: E402

DecodeError = refusing.DecodeError
EncodeError = refusing.EncodeError


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


def load_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        DecodeError: it is not YAML, is more than one document, or repeats a key; says line and column.
    """
    return documents.load(text)


def load_yaml_text(text: str) -> Any:
    """Parse one YAML document, leaving every scalar the text that it is, but for null.

    So `values: [true]` is the text "true" and `version: 1.10` keeps its zero, as a typed reader would have it.

    Raises:
        DecodeError: as `load_yaml`.
    """
    return documents.load_text(text)


def dump_yaml(value: object, *, ascii_only: bool = False) -> str:
    """Render a plain value as block-style YAML in the order given; text stays text for readers of YAML 1.1 and 1.2."""
    return documents.dump(value, ascii_only=ascii_only)


def _dumped(value: object, option: int) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError as error:
        raise EncodeError(str(error)) from error
