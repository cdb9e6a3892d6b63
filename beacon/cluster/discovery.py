"""Discovery: the plural of a kind, and whether it is namespaced.

One request per API group and version; nothing is cached, because kinds may be added and removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from beacon.cluster import connection, failures, parsing, scanning


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedResource:
    """A resource that the API server serves; `unreadable` describes the entries beside it that can't be read."""

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str = ""
    unreadable: str = field(default="", compare=False)

    @property
    def api_version(self) -> str:
        """Return the API group and version as in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """Return the resource's name as in RBAC and metrics: `plural.group`, or the plural in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str) -> str:
        """Return the path of the collection in one namespace, or in all namespaces ("")."""
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return f"{_root(self.group, self.version)}{within}/{quote(self.plural, safe='')}"


def find(api: connection.Connection, api_version: str, kind: str, plural: str = "") -> ServedResource:
    """Look up a kind; a configured `plural` is used as it is, but must be served.

    Raises:
        failures.Absent: the group, the version or the kind is not served.
        failures.Unsuitable: it is served, but can't be watched.
        failures.Malformed: the response is no list of resources, or the entry of the kind can't be read.
        failures.ApiRefused, failures.Unreachable: see there.
    """
    group, _, version = api_version.rpartition("/")
    if group == "project.openshift.io":
        raise failures.Unsuitable(
            "project.openshift.io can't be watched: its lists contain only the projects that the account may see, so"
            " a revoked right would look like deleted projects; watch v1 Namespace instead"
        )
    what = f"{kind} ({plural})" if plural else kind
    served = _served(api, group, version, f"{kind} of {api_version}")
    entries = [entry for entry in served.readable if _is_of(entry.name, entry.kind, kind, plural)]
    usable = [entry for entry in entries if {"list", "watch"} <= set(entry.verbs or ())]
    unreadable = _described(served.unreadable, api_version)
    if not usable and any(_is_of(entry.name, entry.kind, kind, plural) for entry in served.unreadable):
        raise failures.Malformed(f"the API server serves no readable {what}: {unreadable}")
    if not entries:
        raise failures.Absent(f"the API server does not serve {what} of {api_version}")
    if not usable:
        raise failures.Unsuitable(f"{entries[0].name} of {api_version} can't be listed and watched")
    entry = usable[0]
    return ServedResource(
        group=group,
        version=version,
        plural=entry.name,
        namespaced=entry.namespaced,
        kind=entry.kind,
        unreadable=unreadable,
    )


class _Entry(msgspec.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False
    verbs: list[str] | None = None


class _UnreadableEntry(msgspec.Struct, frozen=True):
    """An entry that can't be read: its known fields, None for the others, and the reason."""

    name: str | None
    kind: str | None
    why: str


class _Document(msgspec.Struct, frozen=True):
    kind: str = ""
    group_version: str = msgspec.field(default="", name="groupVersion")
    resources: list[_Entry] | None = None


class _Served(msgspec.Struct, frozen=True):
    readable: list[_Entry]
    unreadable: list[_UnreadableEntry]


_DOCUMENT = msgspec.json.Decoder(_Document)
_ENTRY = msgspec.json.Decoder(_Entry)
_TEXT = msgspec.json.Decoder(str)
_MOST_UNREADABLE = 1000  # entries of one document


def _served(api: connection.Connection, group: str, version: str, what: str) -> _Served:
    try:
        document, unreadable = _parsed(api.get(_root(group, version)))
    except failures.ApiRefused as error:
        if error.status == 404:
            raise failures.Absent(f"the API server does not serve {what}") from error
        raise
    except parsing.UNREADABLE as error:
        raise failures.Malformed(f"the API server's response about {what} can't be read: {error}") from error
    expected = f"{group}/{version}" if group else version
    if document.kind != "APIResourceList" or document.group_version not in ("", expected) or document.resources is None:
        found = f"{document.kind[:60]} {document.group_version[:60]}".strip() or "something else"
        found += " without resources" if document.resources is None else ""
        raise failures.Malformed(f"the API server sent {found} instead of the resources it serves, asked about {what}")
    return _Served(readable=document.resources, unreadable=unreadable)


def _parsed(data: bytes) -> tuple[_Document, list[_UnreadableEntry]]:
    try:
        return _DOCUMENT.decode(data), []
    except parsing.UNREADABLE:
        return _scanned(data)


def _scanned(data: bytes) -> tuple[_Document, list[_UnreadableEntry]]:
    """Parse a discovery document entry by entry, so that one that can't be read does not hide the others."""
    readable: list[_Entry] = []
    unreadable: list[_UnreadableEntry] = []

    def add(span: scanning.Span) -> None:
        try:
            readable.append(_ENTRY.decode(data[slice(*span)]))
        except parsing.UNREADABLE as error:
            unreadable.append(_unreadable(data, span[0], str(error)))
        if len(unreadable) > _MOST_UNREADABLE:
            raise scanning.ScanError(f"more than {_MOST_UNREADABLE} of its entries are unreadable")

    found = scanning.document(data, arrays={"resources": add})
    head = _DOCUMENT.decode(scanning.excerpt(data, found, ("kind", "groupVersion")))
    is_array = scanning.is_array(data, found, "resources")
    return msgspec.structs.replace(head, resources=readable if is_array else None), unreadable


def _unreadable(data: bytes, at: int, why: str) -> _UnreadableEntry:
    try:
        found = scanning.members(data, at)
    except scanning.ScanError:
        return _UnreadableEntry(name=None, kind=None, why=why)
    return _UnreadableEntry(name=_text(data, found, "name"), kind=_text(data, found, "kind"), why=why)


def _text(data: bytes, found: Mapping[str, scanning.Span], key: str) -> str | None:
    try:
        return _TEXT.decode(data[slice(*found[key])]) if key in found else None
    except parsing.UNREADABLE:
        return None


def _described(entries: Sequence[_UnreadableEntry], api_version: str) -> str:
    if not entries:
        return ""
    first, number = entries[0], "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    name = first.name or first.kind or "without a name"
    return f"{number} of {api_version} can't be read, such as {name[:80]!r}: {first.why[:200]}"


def _is_of(name: str | None, found: str | None, kind: str, plural: str) -> bool:
    """Return True if an entry is of a kind, or may be because it is unknown; a name with a slash is a subresource."""
    if name is not None and "/" in name:
        return False
    return name in (None, plural) if plural else found in (None, kind)


def _root(group: str, version: str) -> str:
    return f"/apis/{quote(group, safe='')}/{quote(version, safe='')}" if group else f"/api/{quote(version, safe='')}"
