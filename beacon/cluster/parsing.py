"""Parses the few fields of an object that Beacon needs, by msgspec; with a fallback for text that msgspec rejects.

managedFields and all other fields that no rule needs are skipped by the parser instead of becoming Python objects:
measured on a pod's line of 2 kB that takes 4 us instead of 19, and an unannotated object leaves no garbage behind.

One object must not hide the others. If msgspec rejects a text (nested too deeply, a field of another type, not UTF-8),
`scanning` finds its objects, and each is parsed field by field; an object with a field that can't be read is
`Damaged`, and holds the other fields. This module does not validate the values of fields.

msgspec takes the last of two equal keys, so a list with `"items":[...],"items":[]` would be empty. A list and a line
are therefore split first, into the text around the objects, whose keys are compared, and the objects.
"""

import re
from collections.abc import Sequence

import msgspec

from beacon.cluster import failures, framing, scanning
from beacon.domain import model

# All exceptions of msgspec for text that is not of the expected form, or is nested too deeply.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class Item(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The metadata of one object."""

    uid: str = ""
    namespace: str = ""
    name: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    @property
    def version(self) -> int:
        """Return the resourceVersion as a number.

        Raises:
            failures.Malformed: it is not a number.
        """
        return number(self.resource_version)


class Object(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One object."""

    kind: str = ""
    api_version: str = ""
    metadata: Item = Item()


class Damaged(Object, frozen=True, gc=False):
    """One object with fields that can't be read and are left empty; `why` contains their names."""

    why: str = ""


class RawLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a watch."""

    type: str
    object: Object = Object()


class ListMetadata(msgspec.Struct, frozen=True, gc=False):
    """The metadata of a list."""

    resource_version: str = msgspec.field(default="", name="resourceVersion")
    rest: str | None = msgspec.field(default=None, name="continue")
    remaining: int | None = msgspec.field(default=None, name="remainingItemCount")


class ListHead(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A list without its objects; missing parts are None."""

    kind: str = ""
    api_version: str = ""
    metadata: ListMetadata | None = None
    status: object = None  # no list has one


class List(msgspec.Struct, frozen=True, gc=False):
    """One page of a list; without an array of objects, `items` is None."""

    head: ListHead
    items: Sequence[Object] | None


class _ListedItem(Item, frozen=True, gc=False, kw_only=True):
    """The metadata of an object in a list; without a required field msgspec rejects it, and the slow parser counts it.

    So `{}`, of which a page can hold a million, is no object for the quick parser.
    """

    uid: str
    name: str
    resource_version: str


class _ListedObject(Object, frozen=True, gc=False, kw_only=True):
    """An object in a list."""

    metadata: _ListedItem


LIMIT = model.MAX_INTEGER + 1  # of resourceVersions: the limit of SQLite's integers and of etcd's revisions


def number(text: str) -> int:
    """Parse a resourceVersion.

    Raises:
        failures.Malformed: it is not a decimal number of 63 bits.
    """
    if not is_number(text):
        raise failures.Malformed(
            f"the API server sent the resourceVersion {text[:40]!r}, which is not a decimal number of 63 bits"
        )
    return int(text)


def is_number(text: str) -> bool:
    """Return True if a text is a resourceVersion that Beacon can compare and store."""
    length = len(text)
    return text.isdigit() and text.isascii() and (length < _LONGEST or (length == _LONGEST and int(text) < LIMIT))


_LONGEST = 19  # digits of LIMIT
_LINE = msgspec.json.Decoder(RawLine)
_HEAD = msgspec.json.Decoder(ListHead)
_OBJECTS = msgspec.json.Decoder(list[_ListedObject])
_ONE = msgspec.json.Decoder(Object)
_TEXT = msgspec.json.Decoder(str)
_TEXTS = msgspec.json.Decoder(dict[str, str] | None)
_ITEMS = re.compile(rb'"items"\s*+:\s*+(?=\[)')
_FIELDS = ("uid", "namespace", "name", "resourceVersion")
_MOST_UNREADABLE = 10_000  # objects of one page
_CUT = "it is larger than an object may be"
# Keys that decide what a list or a line means.
_KEYS_OF_HEAD = ("kind", "apiVersion", "metadata", "status")
_KEYS_OF_LIST = frozenset({*_KEYS_OF_HEAD, "items"})
_KEYS_OF_LIST_METADATA = frozenset({"resourceVersion", "continue", "remainingItemCount"})
_KEYS_OF_LINE = frozenset({"type", "object"})
_OBJECT_KEY = b',"object":'
# The beginnings of the lines of a real API server.
_LINE_HEADS = {b'{"type":"%b"' % kind.encode(): kind for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")}
_LONGEST_LINE_HEAD = max(map(len, _LINE_HEADS)) + len(_OBJECT_KEY)


def line(data: bytes) -> RawLine:
    """Parse a line of a watch, or the beginning of a line that is too long.

    Raises:
        scanning.ScanError, msgspec.DecodeError: it is not JSON, not an object with a type, or has one of these twice.
    """
    if isinstance(data, framing.Cut):
        return _scanned_line(data, scanning.members(data, cut=True, once=_KEYS_OF_LINE), cut=True)
    at = data.find(_OBJECT_KEY, 0, _LONGEST_LINE_HEAD)
    kind = _LINE_HEADS.get(data[:at]) if at > 0 and data.endswith(b"}") else None
    if kind is not None:
        try:
            # msgspec rejects bytes after the object, so there is no second one.
            return RawLine(type=kind, object=_ONE.decode(memoryview(data)[at + len(_OBJECT_KEY) : -1]))
        except UNREADABLE:
            pass  # parsed below, field by field
    return _any_line(data)


def page(data: bytes) -> List:
    """Parse one page of a list.

    Raises:
        scanning.ScanError, msgspec.DecodeError: it is not JSON, its head has fields of other types or a key twice.
        failures.Malformed: too many of its objects are unreadable.
    """
    try:
        return _split_page(data)
    except UNREADABLE:
        return _scanned_page(data)


def check_number(unreadable: int) -> None:
    """Raise if a page has too many unreadable objects: to log them all would take longer than a heartbeat may.

    Raises:
        failures.Malformed: there are more than 10,000.
    """
    if unreadable > _MOST_UNREADABLE:
        raise failures.Malformed(f"the API server sent a page with more than {_MOST_UNREADABLE} unreadable objects")


def _split_page(data: bytes) -> List:
    """Parse a page at once. If an array in place of a number makes a text a list, the array is the list's `items`."""
    start, end = _span_of_items(data)
    around = b"%b0%b" % (data[:start], data[end:])
    found = scanning.document(around, once=_KEYS_OF_LIST)
    if found.get("items") != (start, start + 1):
        raise scanning.ScanError("the first array of this name is not the list's")
    _check_list_metadata(around, found)
    return List(head=_HEAD.decode(around), items=_OBJECTS.decode(memoryview(data)[start:end]))


def _span_of_items(data: bytes) -> scanning.Span:
    """Return the span between the beginning of the first array `items` and the last end of an array."""
    array = _ITEMS.search(data)
    if array is None:
        raise scanning.ScanError("it has no items")
    return array.end(), data.rfind(b"]") + 1


def _scanned_page(data: bytes) -> List:
    """Parse a page object by object."""
    objects: list[Object] = []
    unreadable = 0

    def add(span: scanning.Span) -> None:
        nonlocal unreadable
        objects.append(_element(data, span))
        unreadable += _is_incomplete(objects[-1])
        check_number(unreadable)

    found = scanning.document(data, once=_KEYS_OF_LIST, arrays={"items": add})
    _check_list_metadata(data, found)
    is_array = scanning.is_array(data, found, "items")
    return List(head=_HEAD.decode(scanning.excerpt(data, found, _KEYS_OF_HEAD)), items=objects if is_array else None)


def _check_list_metadata(data: bytes, found: dict[str, scanning.Span]) -> None:
    start = found["metadata"][0] if "metadata" in found else 0
    if start and data[start] == ord("{"):
        scanning.members(data, start, once=_KEYS_OF_LIST_METADATA)


def _is_incomplete(one: Object) -> bool:
    item = one.metadata
    return isinstance(one, Damaged) or not (item.uid and item.name and item.resource_version)


def one(data: bytes) -> Object:
    """Parse one object.

    Raises:
        scanning.ScanError: it is not JSON.
    """
    try:
        return _ONE.decode(data)
    except UNREADABLE:
        return _one(data, 0)


def _any_line(data: bytes) -> RawLine:
    """Parse a line that msgspec rejects, or in which the type does not come first."""
    refused: Exception | None = None
    try:
        parsed = _LINE.decode(data)
    except UNREADABLE as error:
        refused = error
    try:
        found = scanning.document(data, once=_KEYS_OF_LINE)
    except scanning.RepeatedKeyError:
        raise
    except scanning.ScanError as error:
        raise refused or error from None
    return _scanned_line(data, found, cut=False) if refused else parsed


def _scanned_line(data: bytes, found: dict[str, scanning.Span], *, cut: bool) -> RawLine:
    if "type" not in found:
        raise scanning.ScanError("it has no type")
    kind = _TEXT.decode(_cut_out(data, found, "type"))
    if kind == "ERROR" or "object" not in found:
        return RawLine(type=kind)
    start = found["object"][0]
    return RawLine(type=kind, object=_damaged(data, start, _CUT, cut=True) if cut else _one(data, start))


def _element(data: bytes, span: scanning.Span) -> Object:
    try:
        return _ONE.decode(data[slice(*span)])
    except UNREADABLE:
        return _one(data, span[0])


def _one(data: bytes, at: int) -> Object:
    """Parse an object field by field; return a plain `Object` if all its fields could be read."""
    read = _damaged(data, at, "")
    return read if read.why else Object(kind=read.kind, api_version=read.api_version, metadata=read.metadata)


def _damaged(data: bytes, at: int, why: str, *, cut: bool = False) -> Damaged:
    """Parse the readable fields of the object that begins at offset `at`; `why` is a defect that is already known."""
    try:
        found = scanning.members(data, at, cut=cut)
        fields = scanning.members(data, found["metadata"][0], cut=cut)
    except (scanning.ScanError, KeyError):
        return Damaged(why=why or "it has no metadata")
    texts: dict[str, str] = {}
    wrong = [name for name in _FIELDS if not _take(texts, name, data, fields)]
    kind = [name for name in ("kind", "apiVersion") if not _take(texts, name, data, found)]
    maps: dict[str, dict[str, str] | None] = {}
    for name in ("labels", "annotations"):
        try:
            maps[name] = _TEXTS.decode(_cut_out(data, fields, name, b"null"))
        except UNREADABLE:
            wrong.append(name)
    item = Item(
        uid=texts.get("uid", ""),
        namespace=texts.get("namespace", ""),
        name=texts.get("name", ""),
        resource_version=texts.get("resourceVersion", ""),
        labels=maps.get("labels"),
        annotations=maps.get("annotations"),
    )
    return Damaged(
        kind=texts.get("kind", ""),
        api_version=texts.get("apiVersion", ""),
        metadata=item,
        why=why or _sentence([*kind, *wrong]),
    )


def _take(texts: dict[str, str], name: str, data: bytes, found: dict[str, scanning.Span]) -> bool:
    """Parse a string field into `texts`; return False if the field exists, but is no string."""
    try:
        texts[name] = _TEXT.decode(_cut_out(data, found, name, b'""'))
    except UNREADABLE:
        return False
    return True


def _cut_out(data: bytes, found: dict[str, scanning.Span], name: str, default: bytes = b"") -> bytes:
    return data[slice(*found[name])] if name in found else default


def _sentence(wrong: list[str]) -> str:
    return f"its {', '.join(wrong)} can't be read" if wrong else ""
