"""The forms in which one object is sent: complete, as an item of a list, metadata only.

Serialization is the main cost under load, so each form is rendered once and its bytes are shared by every reader. This
module must not change an object.
"""

from typing import Any

import orjson

Json = dict[str, Any]

_METADATA_HEAD = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'


class Forms:
    """The renderings of one revision of an object."""

    __slots__ = ("_full", "_item", "_metadata", "_obj")

    def __init__(self, obj: Json) -> None:
        self._obj = obj
        self._metadata: bytes | None = None
        self._full: dict[str, bytes] = {}
        self._item: bytes | None = None

    def metadata(self) -> bytes:
        """Render as a PartialObjectMetadata."""
        if self._metadata is None:
            self._metadata = _METADATA_HEAD + orjson.dumps(self._obj["metadata"]) + b"}"
        return self._metadata

    def full(self, api_version: str) -> bytes:
        """Render the complete object with this apiVersion."""
        found = self._full.get(api_version)
        if found is None:
            found = self._full[api_version] = orjson.dumps({**self._obj, "apiVersion": api_version})
        return found

    def item(self) -> bytes:
        """Render as an item of a built-in list, without kind and apiVersion."""
        if self._item is None:
            plain = {key: value for key, value in self._obj.items() if key not in {"kind", "apiVersion"}}
            self._item = orjson.dumps(plain)
        return self._item
