"""Label selectors, parsed and matched as kubectl and the API server do. Pure.

Source: Kubernetes documentation, "Labels and Selectors": equality-based, set-based, existence, `>` and `<`.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from beacon.domain import model


class SelectorError(ValueError):
    """The text is not a label selector; the message states where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement of a label selector on the value of `key`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return True if the labels meet this requirement; an absent label meets `!=`, `notin` and `!key`."""
        return _OPERATORS[self.operator](labels.get(self.key), self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A label selector: all requirements must hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return True if the labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    """Parse a label selector.

    Raises:
        SelectorError: the text is not a selector.
    """
    requirements = []
    position, end = _after_blanks(text, 0), len(text.rstrip())
    while position < end:
        match = _TERM.match(text, position, end)
        if match is None:
            here = text[position : position + 40]
            raise SelectorError(f"not a label selector from {here!r} on (e.g. app=web,tier in (a,b),!canary)")
        requirements.append(_requirement(match))
        position = _after_blanks(text, match.end())
        if position < end and text[position] != ",":
            raise SelectorError(f"expected a comma before {text[position : position + 40]!r}")
        if position < end and (position := _after_blanks(text, position + 1)) >= end:
            raise SelectorError("ends with a comma")
    return Selector(requirements=tuple(requirements))


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    assert match is not None  # noqa: S101  the pattern also matches the empty text
    return match.end()


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(key=match["absent"], operator="!")
    if match["set"]:
        values = frozenset(value.strip() for value in match["members"].split(","))
        return Requirement(key=match["key"], operator=match["set"], values=values)
    if match["compare"]:
        compare = "=" if match["compare"] == "==" else match["compare"]
        if compare in "<>" and _integer(match["value"]) is None:
            raise SelectorError(f"{match['key']}{compare} needs an integer, not {match['value']!r}")
        return Requirement(key=match["key"], operator=compare, values=frozenset([match["value"]]))
    return Requirement(key=match["key"], operator="exists")


def _compare(relation: Callable[[int, int], bool]) -> Callable[[str | None, frozenset[str]], bool]:
    def holds(value: str | None, values: frozenset[str]) -> bool:
        held, wanted = _integer(value or ""), _integer(min(values))
        return held is not None and wanted is not None and relation(held, wanted)

    return holds


def _integer(text: str) -> int | None:
    """Parse an integer as Kubernetes does: decimal, 64 bits. Return None if the text is not one."""
    if not re.fullmatch(r"[0-9]{1,63}", text):
        return None
    number = int(text)
    return number if number <= model.MAX_INTEGER else None


_OPERATORS: dict[str, Callable[[str | None, frozenset[str]], bool]] = {
    "exists": lambda value, _: value is not None,
    "!": lambda value, _: value is None,
    "=": lambda value, values: value in values,
    "!=": lambda value, values: value not in values,
    "in": lambda value, values: value in values,
    "notin": lambda value, values: value not in values,
    ">": _compare(operator.gt),
    "<": _compare(operator.lt),
}

_PART = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_PREFIX = rf"(?=[^/]{{1,253}}/){_PART}(?:\.{_PART})*/"
_KEY = rf"(?:{_PREFIX})?[A-Za-z0-9](?:[-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_MEMBER = (
    rf"\s*(?:{_VALUE}\s*)?"  # only one way to match blanks: otherwise a list of empty values takes exponential time
)
_BLANKS = re.compile(r"\s*")
_TERM = re.compile(
    rf"!\s*(?P<absent>{_KEY})(?![-_./A-Za-z0-9])"
    rf"|(?P<key>{_KEY})(?![-_./A-Za-z0-9])\s*"
    rf"(?:(?P<set>in|notin)\s*\((?P<members>{_MEMBER}(?:,{_MEMBER})*)\)"
    rf"|(?P<compare>==|=|!=|>|<)\s*(?P<value>(?:{_VALUE})?)(?![-_./A-Za-z0-9]))?"
)
