"""Label and field selectors: text to predicate.

A selector that can't be parsed is refused with the real server's message. This module must not access the storage: a
predicate evaluates one object at a time.
"""

import re
from collections.abc import Callable
from typing import Any

from beacon.dev.api_server import status

Json = dict[str, Any]
Predicate = Callable[[Json], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|>|<|[^\s=!,()<>]+)")
_OPERATORS = {"=": "=", "==": "=", "!=": "!=", "in": "in", "notin": "notin", ">": ">", "<": "<"}


def labels(text: str) -> Predicate | None:
    """Parse a label selector; None means that everything matches. Raises 400 as the real server does."""
    if not text.strip():
        return None
    tokens = _tokens(text)
    tests: list[Predicate] = []
    while True:
        tests.append(_requirement(tokens))
        if not tokens:
            return lambda obj: all(test(obj) for test in tests)
        if tokens.pop(0) != ",":
            raise status.bad_request("unable to parse requirement: found '', expected: ',' or 'end of string'")


def fields(text: str, supported: frozenset[str]) -> Predicate | None:
    """Parse a field selector over the `supported` paths; None means that everything matches."""
    if not text.strip():
        return None
    tests = [_field(term, supported) for term in text.split(",")]
    return lambda obj: all(test(obj) for test in tests)


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if not found:
            raise status.bad_request(f"unable to parse requirement: found '{text[at]}', expected: identifier")
        tokens.append(found[1])
        at = found.end()
    return tokens


def _word(tokens: list[str]) -> str:
    if not tokens or tokens[0] in "==!=,()<>":
        found = tokens[0] if tokens else ""
        raise status.bad_request(f"unable to parse requirement: found '{found}', expected: identifier")
    return tokens.pop(0)


def _requirement(tokens: list[str]) -> Predicate:
    if tokens and tokens[0] == "!":
        tokens.pop(0)
        absent = _word(tokens)
        return lambda obj: absent not in _labels_of(obj)
    key = _word(tokens)
    if not tokens or tokens[0] == ",":
        return lambda obj: key in _labels_of(obj)
    sign = _OPERATORS.get(tokens.pop(0))
    if sign is None:
        expected = "in, notin, =, ==, !=, gt, lt"
        raise status.bad_request(f"unable to parse requirement: found '{key}', expected: {expected}")
    if sign in {"in", "notin"}:
        return _membership(key, _values(tokens), within=sign == "in")
    return _comparison(key, sign, _value(tokens))


def _value(tokens: list[str]) -> str:
    return "" if not tokens or tokens[0] == "," else _word(tokens)


def _values(tokens: list[str]) -> frozenset[str]:
    if not tokens or tokens.pop(0) != "(":
        raise status.bad_request("unable to parse requirement: found '', expected: '('")
    values = set()
    while tokens and tokens[0] != ")":
        if tokens[0] == ",":
            tokens.pop(0)
        else:
            values.add(_word(tokens))
    if not tokens:
        raise status.bad_request("unable to parse requirement: found '', expected: ',' or ')'")
    tokens.pop(0)
    return frozenset(values)


def _membership(key: str, values: frozenset[str], *, within: bool) -> Predicate:
    if within:
        return lambda obj: _labels_of(obj).get(key) in values
    # As with `!=`, an object without the label matches.
    return lambda obj: _labels_of(obj).get(key) not in values


def _comparison(key: str, sign: str, value: str) -> Predicate:
    if sign == "=":
        return lambda obj: _labels_of(obj).get(key) == value
    if sign == "!=":
        return lambda obj: _labels_of(obj).get(key) != value
    if not value.isdigit():
        raise status.bad_request("unable to parse requirement: for 'Gt', 'Lt' operators, the value must be an integer")
    return lambda obj: _ordered(_labels_of(obj).get(key, ""), sign, int(value))


def _ordered(text: str, sign: str, bound: int) -> bool:
    return text.isdigit() and (int(text) > bound if sign == ">" else int(text) < bound)


def _labels_of(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _field(term: str, supported: frozenset[str]) -> Predicate:
    found = re.fullmatch(r"([^=!]+?)(==|!=|=)(.*)", term.strip())
    if not found:
        raise status.bad_request(f"invalid field selector; can't understand '{term}'")
    path, sign, value = found.groups()
    if path not in supported:
        raise status.bad_request(f"field label not supported: {path}")
    return lambda obj: (_at(obj, path.split(".")) == value) is (sign != "!=")


def _at(obj: Any, path: list[str]) -> str:
    for step in path:
        obj = obj.get(step) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj)
