"""Server-side apply: fields that a manager applied before and omits now are removed, unless another manager has them.

It takes what a manager owns from `managedFields`, whose lists are approximations (`fields`). This module must not
change an object.
"""

import copy
import json
from collections.abc import Iterable
from typing import Any

from beacon.dev.api_server import fields

Json = dict[str, Any]


def without_omitted(
    current: Json, document: Json, owners: Iterable[fields.Owner], manager: str, *, custom: bool
) -> Json:
    """Return the current object without what this manager owns by an earlier apply and does not apply any more.

    A list that is one value is removed as well if the document has another: merging would mix both.
    """
    own: frozenset[fields.Path] = frozenset()
    others: set[fields.Path] = set()
    for owner in owners:
        if (owner.manager, owner.operation, owner.subresource) == (manager, "Apply", ""):
            own |= owner.paths
        else:
            others |= {path[:length] for path in owner.paths for length in range(1, len(path) + 1)}
    before = fields.leaves(current, subresource="", custom=custom)
    after = fields.leaves(document, subresource="", custom=custom)
    gone = [path for path in own - others if path not in after or _is_another_list(before.get(path), after[path])]
    if not gone:
        return current
    result = copy.deepcopy(current)
    for path in sorted(gone, key=len):  # an item before its fields, which it is found by
        _remove(result, path)
    return result


def _is_another_list(before: Any, after: Any) -> bool:
    return isinstance(before, list) and before != after


def _remove(node: Any, path: fields.Path) -> None:
    """Remove a field, an item or an entry of a set; nothing happens if a part of the path is missing."""
    for step in path[:-1]:
        place = _place(node, step)
        if place is None:
            return
        node = node[place]
    if (place := _place(node, path[-1])) is not None:
        del node[place]


def _place(node: Any, step: str) -> Any:
    """Return the key or the index that a step of a path means, or None if there is none."""
    form, _, text = step.partition(":")
    if form == "f":
        return text if isinstance(node, dict) and text in node else None
    if not isinstance(node, list):
        return None
    wanted = json.loads(text)
    for index, item in enumerate(node):
        if item == wanted if form == "v" else isinstance(item, dict) and wanted.items() <= item.items():
            return index
    return None
