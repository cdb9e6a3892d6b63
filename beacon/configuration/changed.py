"""The differences between two configurations, as a list of keys with their values; secrets are masked. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from beacon import codec
from beacon.configuration import settings, shown


@dataclasses.dataclass(frozen=True, slots=True)
class _Leaf:
    """A value of a configuration, and its form for an operator; `part` is the element of a list that contains it."""

    value: object
    text: str
    part: str


def between(before: settings.Settings, after: settings.Settings) -> list[str]:
    """Return a phrase for each difference, such as `endpoint.timeout 30s -> 10s`, in the order of the keys.

    An endpoint is identified by its name if there are several.
    """
    several = len(before.endpoints) > 1 or len(after.endpoints) > 1
    old, new = (dict(_leaves(tree, "", "", several=several)) for tree in (before, after))
    old_parts, new_parts = ({leaf.part for leaf in one.values()} for one in (old, new))
    phrases: dict[str, None] = {}
    for key in (*old, *(key for key in new if key not in old)):
        left, right = old.get(key), new.get(key)
        if left is None and right is not None:
            phrases[f"{right.part} added" if right.part not in old_parts else f"{key} added"] = None
        elif right is None and left is not None:
            phrases[f"{left.part} removed" if left.part not in new_parts else f"{key} removed"] = None
        elif left is not None and right is not None and left.value != right.value:
            is_visible = left.text != right.text
            phrases[f"{key} {left.text} -> {right.text}" if is_visible else f"{key} changed"] = None
    return list(phrases)


def _leaves(node: Any, path: str, part: str, *, several: bool) -> Iterator[tuple[str, _Leaf]]:
    for one in dataclasses.fields(node):
        value = getattr(node, one.name)
        name = settings.key_of(one.name)
        key = f"{path}.{name}" if path else name
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, key, part, several=several)
        elif isinstance(value, Mapping):
            for header, secret in value.items():
                yield f"{key}.{header}", _Leaf(secret, "***", part)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for place, item in enumerate(value):
                inner = _name_of(key, place, item, several=several)
                yield from _leaves(item, inner, inner, several=several)
        else:
            yield key, _Leaf(value, _text(shown.value(one, value)), part)


def _name_of(key: str, place: int, item: object, *, several: bool) -> str:
    if not isinstance(item, settings.EndpointSettings):
        return f"{key}[{place}]"
    return f"{key}[{item.name}]" if several else "endpoint"


def _text(value: object) -> str:
    return value if isinstance(value, str) and value else codec.encode(value).decode()
