"""Validates lists and watch events of the API server.

A document is rejected as a whole if it is not declared as a list, or if an object is of another kind or namespace than
requested. A defect of a single object affects that object only: it is returned as unreadable, with its known fields.
"""

from collections.abc import Iterable, Sequence

import msgspec

from beacon.cluster import failures, parsing, refusals, scanning

Item = parsing.Item
number = parsing.number


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """An object with a required field that can't be read: its known fields, and the reason."""

    item: Item
    why: str

    @property
    def name(self) -> str:
        """Return the known part of the object's name, in printable characters."""
        item = self.item
        known = "/".join(part[:253] for part in (item.namespace, item.name) if part)
        if not item.name:
            known = f"an object without a name (UID {item.uid[:80] or 'unknown'})"
        return "".join(character if character.isprintable() else "?" for character in known)


class WatchEvent(msgspec.Struct, frozen=True, gc=False):
    """A watch event: ADDED, MODIFIED, DELETED or BOOKMARK. `why` is the reason if its object is unreadable."""

    type: str
    item: Item
    why: str = ""


class ListPageItems(msgspec.Struct, frozen=True, gc=False):
    """One page of a list; `version` is the resourceVersion of the whole list, `rest` the token of the next page."""

    version: int
    items: Sequence[Item]
    rest: str
    unreadable: Sequence[Unreadable] = ()

    @property
    def uids(self) -> tuple[str, ...]:
        """Return the UIDs of all objects that have one; those of unreadable objects come last."""
        return (*(item.uid for item in self.items), *(one.item.uid for one in self.unreadable if one.item.uid))

    @property
    def versions(self) -> tuple[int, ...]:
        """Return the resourceVersions of `uids`; an unreadable object gets the list's, as it contradicts no row."""
        unreadable = (self.version for one in self.unreadable if one.item.uid)
        return (*(item.version for item in self.items), *unreadable)

    @property
    def identified(self) -> bool:
        """Return True if every object has a UID: only then the page proves that a UID is absent."""
        return all(one.item.uid for one in self.unreadable)


def line(data: bytes, *, kind: str = "", namespace: str = "") -> WatchEvent:
    """Parse a line of a watch of this kind in this namespace; "" means any kind, or all namespaces.

    Raises:
        failures.Garbled: the line is not JSON.
        failures.Malformed: it is no event of this watch, or has no UID or no resourceVersion.
        failures.ApiRefused: it is an ERROR event, with a Status.
    """
    try:
        parsed = parsing.line(data)
    except (msgspec.ValidationError, scanning.ScanError, RecursionError) as error:
        raise failures.Malformed(f"the API server sent a line that is not of a watch: {error}") from error
    except parsing.UNREADABLE as error:
        raise failures.Garbled(f"the API server sent a line that is not JSON: {error}") from error
    if parsed.type == "ERROR":
        raise refusals.error_line(data)
    if parsed.type not in _TYPES:
        raise failures.Malformed(f"the API server sent a line of the unknown type {parsed.type[:40]!r}")
    read, item = parsed.object, parsed.object.metadata
    _refuse_foreign([read], kind, namespace)
    if not item.resource_version or (not item.uid and parsed.type != "BOOKMARK"):
        raise failures.Malformed(f"the API server sent {parsed.type} without UID or resourceVersion")
    why = "" if parsed.type == "BOOKMARK" else _flaw(read, namespace)
    return WatchEvent(type=parsed.type, item=_without_unusable_uid(item) if why else item, why=why)


def page(data: bytes, *, kind: str = "", api_version: str = "", namespace: str = "") -> ListPageItems:
    """Parse one page of a list of this kind in this namespace; "" means any kind or version, or all namespaces.

    Raises:
        failures.Malformed: the document is not such a list, or incomplete.
        failures.Unsuitable: its resourceVersion is not a decimal number.
    """
    try:
        parsed = parsing.page(data)
    except parsing.UNREADABLE as error:
        raise failures.Malformed(f"the API server sent something that is not a list: {error}") from error
    head = parsed.head
    if head.metadata is None or parsed.items is None or not _is_list(head, kind, api_version):
        found = f"{head.kind or 'something'} {head.api_version}".strip()[:100]
        raise failures.Malformed(f"the API server sent {found} instead of a list of {kind or 'objects'}")
    if head.status is not None:
        raise failures.Malformed("the API server sent a list with a status, which no list has")
    if head.metadata.remaining and not head.metadata.rest:
        raise failures.Malformed("the API server sent a part of a list without the token for the rest of it")
    _refuse_foreign(parsed.items, kind, namespace)
    version = _list_version(head.metadata.resource_version)
    readable: list[Item] = []
    unreadable: list[Unreadable] = []
    for one in parsed.items:
        if why := _flaw(one, namespace, version):
            unreadable.append(Unreadable(item=_without_unusable_uid(one.metadata), why=why))
            parsing.check_number(len(unreadable))
        else:
            readable.append(one.metadata)
    found_page = ListPageItems(version=version, items=readable, rest=head.metadata.rest or "", unreadable=unreadable)
    if len(set(found_page.uids)) != len(found_page.uids):
        raise failures.Malformed("the API server listed an object twice")
    return found_page


def object_uid(data: bytes, *, kind: str = "") -> str:
    """Parse one object and return its UID.

    Raises:
        failures.Malformed: the document is not an object of this kind.
    """
    try:
        found = parsing.one(data)
    except parsing.UNREADABLE as error:
        raise failures.Malformed(f"the API server sent something that is not an object: {error}") from error
    _refuse_foreign([found], kind, "")
    if not _is_uid(found.metadata.uid):
        raise failures.Malformed("the API server sent an object without a usable UID")
    return found.metadata.uid


_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_METADATA = "PartialObjectMetadata"
_LONGEST_NAME = 253  # of an object in Kubernetes; UIDs and namespaces are shorter
_METADATA_VERSIONS = ("", "meta.k8s.io/v1", "meta.k8s.io/v1beta1")


def _is_list(parsed: parsing.ListHead, kind: str, api_version: str) -> bool:
    """Return True if a document is declared as a list: of metadata, or of the kind itself."""
    if parsed.kind == f"{_METADATA}List":
        return parsed.api_version in _METADATA_VERSIONS
    expected = parsed.kind == f"{kind}List" if kind else parsed.kind.endswith("List")
    return expected and (not api_version or parsed.api_version in ("", api_version))


def _refuse_foreign(objects: Iterable[parsing.Object], kind: str, namespace: str) -> None:
    """Raise if an object has another kind or namespace than requested: the response is to another request."""
    for one in objects:
        if kind and one.kind not in ("", _METADATA, kind):
            raise failures.Malformed(f"the API server sent {one.kind[:60]!r} where {kind} was requested")
        if namespace and one.metadata.namespace not in ("", namespace):
            raise failures.Malformed(
                f"the API server sent an object of namespace {one.metadata.namespace[:80]!r} where"
                f" {namespace!r} was requested"
            )


def _flaw(one: parsing.Object, namespace: str, list_version: int = parsing.LIMIT) -> str:
    """Return why an object of a list at `list_version` is unreadable, "" if it is readable."""
    if isinstance(one, parsing.Damaged):
        return one.why
    item = one.metadata
    if not (item.uid and item.name and (item.namespace or not namespace)):
        return "it has no UID, no name or no namespace"
    identity = item.uid + item.name + item.namespace
    if len(identity) > _LONGEST_NAME and max(len(item.uid), len(item.name), len(item.namespace)) > _LONGEST_NAME:
        return f"its UID, name or namespace has more than {_LONGEST_NAME} characters"
    if "\0" in identity:
        return "its UID, name or namespace contains a NUL"
    if not parsing.is_number(item.resource_version):
        return f"its resourceVersion {item.resource_version[:40]!r} is not a decimal number of 63 bits"
    if int(item.resource_version) > list_version:
        return f"its resourceVersion {item.resource_version} is later than the list's"
    return ""


def _without_unusable_uid(item: Item) -> Item:
    """Return an unreadable object, with an empty UID in place of one that no object can have."""
    return item if _is_uid(item.uid) else msgspec.structs.replace(item, uid="")


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and "\0" not in text


def _list_version(text: str) -> int:
    if not parsing.is_number(text) or not int(text):
        raise failures.Unsuitable(
            f"the API server numbers the versions of this kind with {text[:40]!r} instead of decimal numbers of 63"
            " bits, so Beacon can't know which of two is newer"
        )
    return int(text)
