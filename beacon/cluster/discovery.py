"""Where the API server keeps a kind: its plural and whether it lives in namespaces.

One request per API group and version; nothing is cached, because a kind may come and go.
"""

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from beacon.cluster import connection, failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind as the API server serves it."""

    group: str
    version: str
    plural: str
    namespaced: bool

    @property
    def name(self) -> str:
        """Name the resource as RBAC and the metrics do: `plural.group`, or the plural alone in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str) -> str:
        """Give the path of the collection in one namespace, or in all of them ("")."""
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return f"{_root(self.group, self.version)}{within}/{quote(self.plural, safe='')}"


def find(api: connection.Connection, api_version: str, kind: str, plural: str = "") -> Resource:
    """Look a kind up; a configured `plural` is taken at its word, but must be served.

    Raises:
        failures.Absent: the group, the version or the kind is not served.
        failures.Unsuitable: it is served, but can't be watched.
        failures.Refused, failures.Unreachable: see there.
    """
    group, _, version = api_version.rpartition("/")
    if group == "project.openshift.io":
        raise failures.Unsuitable(
            "project.openshift.io is not watched: its lists show only what the account may see, so a right that is"
            " taken away would look like deleted projects; watch v1 Namespace instead"
        )
    entry = _entry(_served(api, group, version, f"{kind} of {api_version}"), kind, plural)
    if entry is None:
        what = f"{kind} ({plural})" if plural else kind
        raise failures.Absent(f"the API server does not serve {what} of {api_version}")
    if not {"list", "watch"} <= set(entry.verbs or ()):
        raise failures.Unsuitable(f"{entry.name} of {api_version} can't be listed and watched")
    return Resource(group=group, version=version, plural=entry.name, namespaced=entry.namespaced)


class _Entry(msgspec.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False
    verbs: list[str] | None = None


class _Served(msgspec.Struct, frozen=True):
    resources: list[_Entry] | None = None


_SERVED = msgspec.json.Decoder(_Served)


def _served(api: connection.Connection, group: str, version: str, what: str) -> list[_Entry]:
    try:
        return _SERVED.decode(api.get(_root(group, version))).resources or []
    except failures.Refused as error:
        if error.status == 404:
            raise failures.Absent(f"the API server does not serve {what}") from error
        raise
    except msgspec.DecodeError as error:
        raise failures.Malformed(f"the API server's answer about {what} can't be read: {error}") from error


def _entry(entries: list[_Entry], kind: str, plural: str) -> _Entry | None:
    for entry in entries:
        if "/" in entry.name:
            continue  # a subresource
        if entry.name == plural if plural else entry.kind == kind:
            return entry
    return None


def _root(group: str, version: str) -> str:
    return f"/apis/{quote(group, safe='')}/{quote(version, safe='')}" if group else f"/api/{quote(version, safe='')}"
