"""The three kinds of patch: merge (RFC 7386), JSON (RFC 6902) and strategic merge.

Each takes a document and returns a new one. They must not change their arguments, because stored objects are shared by
all readers. Strategic merge supports the merge keys that kubectl's patches need, not all of them.
"""

import copy
from typing import Any

from beacon.dev.api_server import status

Json = dict[str, Any]

# The merge key of a list, by the name of its field.
MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "env": "name", "volumes": "name",
    "volumeMounts": "mountPath", "volumeDevices": "devicePath", "imagePullSecrets": "name", "secrets": "name",
    "ownerReferences": "uid", "conditions": "type", "hostAliases": "ip", "taints": "key", "addresses": "type",
    "topologySpreadConstraints": "topologyKey", "resourceClaims": "name",
}  # fmt: skip
_SETS = {"finalizers"}


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: null removes, objects merge, anything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target: Any, patch: Any, field: str = "") -> Any:
    """Apply a strategic merge patch, its `$patch`, `$deleteFromPrimitiveList` and `$retainKeys` included."""
    if isinstance(patch, list):
        return _merge_list(target if isinstance(target, list) else [], patch, field)
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(target) if isinstance(target, dict) else {}
    if (kept := patch.get("$retainKeys")) is not None:
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        _merge_key(result, key, value)
    return result


def apply_json(document: Any, operations: Any) -> Any:
    """Apply a JSON patch. Raises 422 if a path does not exist or a test fails."""
    result = {"": copy.deepcopy(document)}
    if not isinstance(operations, list):
        raise status.bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    for operation in operations:
        try:
            _apply_operation(result, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            message = "the server rejected our request due to an error in our request"
            raise status.ApiError(422, "Invalid", message, details={}) from error
    return result[""]


def _merge_key(result: Json, key: str, value: Any) -> None:
    if key.startswith("$deleteFromPrimitiveList/"):
        name = key.partition("/")[2]
        result[name] = [item for item in result.get(name) or [] if item not in value]
    elif key.startswith("$"):
        return
    elif value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
        result.pop(key, None)
    else:
        result[key] = strategic(result.get(key), value, key)


def _merge_list(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in _SETS:
        return [*target, *(item for item in patch if item not in target)]
    merge_key = _merge_key_of(field, [*target, *patch])
    if not merge_key or any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    result = list(target)
    for item in patch:
        _merge_item(result, item, merge_key)
    return result


def _merge_item(result: list[Any], item: Json, merge_key: str) -> None:
    same = [at for at, old in enumerate(result) if old.get(merge_key) == item.get(merge_key)]
    if item.get("$patch") == "delete":
        for at in reversed(same):
            del result[at]
    elif same:
        result[same[0]] = strategic(result[same[0]], item)
    else:
        result.append(strategic({}, item))


def _merge_key_of(field: str, items: list[Any]) -> str:
    if not all(isinstance(item, dict) for item in items):
        return ""
    if field == "ports":
        return "containerPort" if any("containerPort" in item for item in items) else "port"
    return MERGE_KEYS.get(field, "")


def _apply_operation(root: Json, operation: Json) -> None:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind == "test":
        if _get(root, path) != operation["value"]:
            raise ValueError("test failed")
    elif kind == "remove":
        _remove(root, path)
    elif kind == "add":
        _add(root, path, operation["value"])
    elif kind == "replace":
        _get(root, path)
        _replace(root, path, operation["value"])
    elif kind in {"move", "copy"}:
        source = _pointer(operation["from"])
        value = copy.deepcopy(_get(root, source))
        if kind == "move":
            _remove(root, source)
        _add(root, path, value)
    else:
        raise ValueError(kind)


def _pointer(text: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")]


def _get(node: Any, path: list[str]) -> Any:
    for step in path:
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


def _add(root: Json, path: list[str], value: Any) -> None:
    parent = _get(root, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else int(path[-1]), value)
    else:
        parent[path[-1]] = value


def _replace(root: Json, path: list[str], value: Any) -> None:
    parent = _get(root, path[:-1])
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value


def _remove(root: Json, path: list[str]) -> None:
    parent = _get(root, path[:-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
