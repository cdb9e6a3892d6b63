"""Discovery: the plural of a kind, and whether it is namespaced.

One request per API group and version; nothing is cached, because kinds may be added and removed.
"""

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from beacon.cluster import connection, failures, parsing


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedResource:
    """A resource that the API server serves."""

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str = ""

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
        failures.ApiRefused, failures.Unreachable: see there.
    """
    group, _, version = api_version.rpartition("/")
    if group == "project.openshift.io":
        raise failures.Unsuitable(
            "project.openshift.io can't be watched: its lists contain only the projects that the account may see, so"
            " a revoked right would look like deleted projects; watch v1 Namespace instead"
        )
    entries = _entries(_served(api, group, version, f"{kind} of {api_version}"), kind, plural)
    if not entries:
        what = f"{kind} ({plural})" if plural else kind
        raise failures.Absent(f"the API server does not serve {what} of {api_version}")
    usable = [entry for entry in entries if {"list", "watch"} <= set(entry.verbs or ())]
    if not usable:
        raise failures.Unsuitable(f"{entries[0].name} of {api_version} can't be listed and watched")
    entry = usable[0]
    return ServedResource(group=group, version=version, plural=entry.name, namespaced=entry.namespaced, kind=entry.kind)


class _Entry(msgspec.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False
    verbs: list[str] | None = None


class _Served(msgspec.Struct, frozen=True):
    kind: str = ""
    group_version: str = msgspec.field(default="", name="groupVersion")
    resources: list[_Entry] | None = None


_SERVED = msgspec.json.Decoder(_Served)


def _served(api: connection.Connection, group: str, version: str, what: str) -> list[_Entry]:
    try:
        served = _SERVED.decode(api.get(_root(group, version)))
    except failures.ApiRefused as error:
        if error.status == 404:
            raise failures.Absent(f"the API server does not serve {what}") from error
        raise
    except parsing.UNREADABLE as error:
        raise failures.Malformed(f"the API server's response about {what} can't be read: {error}") from error
    expected = f"{group}/{version}" if group else version
    if served.kind != "APIResourceList" or served.group_version not in ("", expected) or served.resources is None:
        found = f"{served.kind[:60]} {served.group_version[:60]}".strip() or "something else"
        raise failures.Malformed(f"the API server sent {found} instead of the resources it serves, asked about {what}")
    return served.resources


def _entries(entries: list[_Entry], kind: str, plural: str) -> list[_Entry]:
    """Return the entries of a kind in the order served; those with a slash are subresources."""
    whole = [entry for entry in entries if "/" not in entry.name]
    return [entry for entry in whole if (entry.name == plural if plural else entry.kind == kind)]


def _root(group: str, version: str) -> str:
    return f"/apis/{quote(group, safe='')}/{quote(version, safe='')}" if group else f"/api/{quote(version, safe='')}"
