"""Finds values in JSON text without recursion, for text that msgspec rejects because it is nested too deeply.

An API server stores metadata that is nested thousands of levels deep (`managedFields`), and one such object must not
hide the others. The time is linear in the length of the text, and no level takes memory. The module finds the spans of
values and validates nothing: skipped parts need not be valid JSON.
"""

import re
from collections.abc import Iterator

import msgspec

Span = tuple[int, int]


class ScanError(ValueError):
    """The text is not JSON, or not of the expected form."""


def members(data: bytes, at: int = 0, *, cut: bool = False) -> dict[str, Span]:
    """Return the spans of the members' values of the object at offset `at`; of equal keys the last one wins.

    With `cut` the text may end anywhere; the span of the last value then ends with the text.

    Raises:
        ScanError: there is no object at `at`, or it does not end.
    """
    found: dict[str, Span] = {}
    at = _opened(data, at, b"{")
    while member := _MEMBER.match(data, at):
        end = _skip(data, member.end())
        if end is None and not cut:
            raise ScanError("the text ends in the middle of an object")
        at = len(data) if end is None else end
        if (key := _key(member[1])) is not None:
            found[key] = (member.end(), at)
    if not cut and not _END_OF_OBJECT.match(data, at):
        raise ScanError("an object does not end")
    return found


def check_whole(data: bytes) -> None:
    """Raise if a text is anything but one object.

    Raises:
        ScanError: it does not end, or something follows it.
    """
    end = _skip_structured(data, _opened(data, 0, b"{") - 1)
    if end is None or data[end:].strip():
        raise ScanError("the text is not one object")


def elements(data: bytes, at: int = 0) -> Iterator[Span]:
    """Yield the spans of the elements of the array at offset `at`.

    Raises:
        ScanError: there is no array at `at`, or it does not end.
    """
    at = _opened(data, at, b"[")
    while not _END_OF_ARRAY.match(data, at):
        comma = _COMMA.match(data, at)
        start = comma.end() if comma else at
        end = _skip(data, start)
        if end is None:
            raise ScanError("the text ends in the middle of an array")
        yield start, end
        at = end


def _opened(data: bytes, at: int, bracket: bytes) -> int:
    if (start := data.find(bracket, at)) < 0 or data[at:start].strip():
        raise ScanError(f"no {bracket.decode()} where one is expected")
    return start + 1


def _skip(data: bytes, at: int) -> int | None:
    """Return the offset where the value at offset `at` ends, or None if the text ends before."""
    if data[at : at + 1] in _STRUCTURED:
        return _skip_structured(data, at)
    scalar = _SCALAR.match(data, at)
    if scalar is None and at < len(data):
        raise ScanError("no value where one is expected")
    return scalar.end() if scalar and scalar.end() < len(data) else None


def _skip_structured(data: bytes, at: int) -> int | None:
    """Return the offset where a string, an object or an array ends, by counting opening and closing brackets."""
    depth = 0
    for token in _TOKEN.finditer(data, at):
        first, length = token[0][0], len(token[0])
        if first in _OPENING:
            depth += length
        elif first in _CLOSING:
            if depth <= length:
                return token.start() + depth
            depth -= length
        elif length == 1:
            return None  # a string that does not end
        elif not depth:
            return token.end()
    return None


def _key(quoted: bytes) -> str | None:
    try:
        return _TEXT.decode(quoted)
    except ValueError:
        return None


# Possessive quantifiers: no backtracking, neither in time nor in memory.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_MEMBER = re.compile(rb"\s*+,?\s*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_TOKEN = re.compile(_STRING + rb'|[\[{]++|[\]}]++|"', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,:"\[\]{}]++')
_COMMA = re.compile(rb"\s*+,?\s*+")
_END_OF_OBJECT = re.compile(rb"\s*+\}")
_END_OF_ARRAY = re.compile(rb"\s*+\]")
_STRUCTURED = (b'"', b"{", b"[")
_OPENING = b"[{"
_CLOSING = b"]}"
_TEXT = msgspec.json.Decoder(str)
