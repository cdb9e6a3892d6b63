"""Finds values in JSON text without recursion, for text that msgspec rejects because it is nested too deeply.

An API server stores metadata that is nested thousands of levels deep (`managedFields`), and one such object must not
hide the others. The time is linear in the length of the text, and no level takes memory. The module finds the spans of
values and validates nothing: skipped parts need not be valid JSON.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping

import msgspec

Span = tuple[int, int]
See = Callable[[Span], None]


class ScanError(ValueError):
    """The text is not JSON, or not of the expected form."""


class RepeatedKeyError(ScanError):
    """An object has a key twice that may occur only once."""


def members(data: bytes, at: int = 0, *, cut: bool = False, once: Container[str] = ()) -> dict[str, Span]:
    """Return the spans of the members' values of the object at offset `at`.

    Of equal keys the last one wins, except for those in `once`. With `cut` the text may end anywhere; the span of the
    last value then ends with the text.

    Raises:
        RepeatedKeyError: a key in `once` occurs twice.
        ScanError: there is no object at `at`, or it does not end.
    """
    found, end = _members(data, at, once, {}, cut=cut)
    if not cut and not end:
        raise ScanError("an object does not end")
    return found


def document(data: bytes, *, once: Container[str] = (), arrays: Mapping[str, See] | None = None) -> dict[str, Span]:
    """Return the spans of the members' values of a text that is one object and nothing else.

    The functions in `arrays` are called with the span of each element of the array that is the value of their key, so
    that a large array is read only once, and only up to an element for which the function raises an exception.

    Raises:
        RepeatedKeyError: a key in `once` occurs twice.
        ScanError: the text is anything but one object.
    """
    found, end = _members(data, 0, once, arrays or {})
    if not end or data[end:].strip():
        raise ScanError("the text is not one object")
    return found


def excerpt(data: bytes, found: Mapping[str, Span], keys: Iterable[str]) -> bytes:
    """Return the JSON text of an object with some of the members that were found."""
    return b"{%b}" % b",".join(b'"%b":%b' % (key.encode(), data[slice(*found[key])]) for key in keys if key in found)


def is_array(data: bytes, found: Mapping[str, Span], key: str) -> bool:
    """Return True if the value of a key was found and is an array."""
    return key in found and data[found[key][0]] == ord("[")


def elements(data: bytes, at: int, see: See) -> int:
    """Call `see` with the span of each element of the array at offset `at`; return the offset where the array ends.

    Raises:
        ScanError: there is no array at `at`, or it does not end.
    """
    at = _opened(data, at, _START_OF_ARRAY)
    while not (closed := _END_OF_ARRAY.match(data, at)):
        comma = _COMMA.match(data, at)
        start = comma.end() if comma else at
        end = _skip(data, start)
        if end is None:
            raise ScanError("the text ends in the middle of an array")
        see((start, end))
        at = end
    return closed.end()


def _members(
    data: bytes, at: int, once: Container[str], arrays: Mapping[str, See], *, cut: bool = False
) -> tuple[dict[str, Span], int]:
    """Return the members' spans of the object at offset `at`, and the offset where it ends, 0 if it does not."""
    found: dict[str, Span] = {}
    at = _opened(data, at, _START_OF_OBJECT)
    while member := _MEMBER.match(data, at):
        key, start = _key(member[1]), member.end()
        if key in found and key in once:
            raise RepeatedKeyError(f"it has the key {key} twice")
        see = arrays.get(key) if key is not None and data[start : start + 1] == b"[" else None
        end = elements(data, start, see) if see else _skip(data, start)
        if end is None and not cut:
            raise ScanError("the text ends in the middle of an object")
        at = len(data) if end is None else end
        if key is not None:
            found[key] = (start, at)
    closed = _END_OF_OBJECT.match(data, at)
    return found, closed.end() if closed else 0


def _opened(data: bytes, at: int, bracket: re.Pattern[bytes]) -> int:
    opened = bracket.match(data, at)
    if opened is None:
        raise ScanError("no object or array where one is expected")
    return opened.end()


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
_START_OF_OBJECT = re.compile(rb"\s*+\{")
_START_OF_ARRAY = re.compile(rb"\s*+\[")
_END_OF_OBJECT = re.compile(rb"\s*+\}")
_END_OF_ARRAY = re.compile(rb"\s*+\]")
_STRUCTURED = (b'"', b"{", b"[")
_OPENING = b"[{"
_CLOSING = b"]}"
_TEXT = msgspec.json.Decoder(str)
