"""managedFields: which manager last wrote each field.

Beacon drops them, but a real server sends them with every object and they are half of its bytes, so they are computed
here with the same shape. The rules follow recordings of a real server; lists of field names approximate the details of
the schema. This module must not change an object.
"""

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from beacon.dev.api_server import patches

Json = dict[str, Any]
Path = tuple[str, ...]
Leaves = dict[Path, Any]

_UNMANAGED = frozenset({
    "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields",
    "deletionTimestamp", "deletionGracePeriodSeconds",
})  # fmt: skip
# Structures of a known type: unlike maps, they are not fields themselves.
_STRUCTURES = frozenset({
    "metadata", "spec", "status", "template", "strategy", "updateStrategy", "jobTemplate", "names", "acceptedNames",
})  # fmt: skip
_ATOMIC = frozenset({"selector", "fieldRef", "resourceFieldRef"})
_PRESENT = "(present)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One entry of managedFields, with its fields as a set of paths."""

    manager: str
    operation: str
    api_version: str
    at: str
    subresource: str
    paths: frozenset[Path]


def leaves(obj: Json, *, subresource: str, custom: bool) -> Leaves:
    """Return every managed field of an object with its value; only those of the status if that is the subresource."""
    found: Leaves = {}
    for key, value in obj.items():
        if key in {"apiVersion", "kind"} or (key == "status") is not (subresource == "status"):
            continue
        if key == "metadata":
            if managed := {name: item for name, item in value.items() if name not in _UNMANAGED}:
                _walk(found, (f"f:{key}",), key, managed, custom)
        else:
            _walk(found, (f"f:{key}",), key, value, custom)
    return found


def claim(owners: Iterable[Owner], before: Leaves, after: Leaves, writer: Owner) -> tuple[Owner, ...]:
    """Return the owners after `writer` has changed `before` into `after`; `writer.paths` is ignored."""
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    result, own = [], changed
    for owner in owners:
        if owner.subresource != writer.subresource:
            result.append(owner)
        elif _who(owner) == _who(writer):
            own = changed | frozenset(path for path in owner.paths if path in after)
        elif kept := frozenset(path for path in owner.paths if path in after and path not in changed):
            result.append(dataclasses.replace(owner, paths=kept))
    if own:
        result.append(dataclasses.replace(writer, paths=own))
    return tuple(sorted(result, key=lambda owner: (owner.operation != "Apply", owner.at, owner.manager)))


def render(owners: Iterable[Owner]) -> list[Json]:
    """Render owners as the `managedFields` of an object."""
    entries: list[Json] = []
    for owner in owners:
        entry: Json = {"manager": owner.manager, "operation": owner.operation, "apiVersion": owner.api_version}
        entry |= {"time": owner.at, "fieldsType": "FieldsV1", "fieldsV1": _tree(owner.paths)}
        if owner.subresource:
            entry["subresource"] = owner.subresource
        entries.append(entry)
    return entries


def _who(owner: Owner) -> tuple[str, str, str]:
    return owner.manager, owner.operation, owner.api_version


def _walk(found: Leaves, path: Path, name: str, value: Any, custom: bool) -> None:  # noqa: FBT001 - recursion
    if isinstance(value, dict) and value and name not in _ATOMIC:
        # A custom resource has no types, so there everything below metadata is a map.
        if name not in _STRUCTURES or (custom and name != "metadata"):
            found[path] = _PRESENT
        for key, item in value.items():
            _walk(found, (*path, f"f:{key}"), key, item, custom)
    elif name == "finalizers" and isinstance(value, list):
        found[path] = _PRESENT
        found.update({(*path, f'v:"{item}"'): _PRESENT for item in value})
    elif (key := patches.MERGE_KEYS.get(name)) and isinstance(value, list) and not custom:
        _walk_items(found, path, key, value)
    else:
        found[path] = value


def _walk_items(found: Leaves, path: Path, key: str, items: list[Any]) -> None:
    for item in items:
        if isinstance(item, dict) and key in item:
            inner = (*path, f'k:{{"{key}":"{item[key]}"}}')
            found[inner] = _PRESENT
            for field, value in item.items():
                _walk(found, (*inner, f"f:{field}"), field, value, False)  # noqa: FBT003 - recursion


@functools.lru_cache(maxsize=4096)
def _tree(paths: frozenset[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    for path in paths:
        node = root
        for step in path:
            node = node[step]
        if node:
            node["."] = {}
    return root
