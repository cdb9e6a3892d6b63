"""The served resources: the description of a kind, and the registry of the kinds that are served now.

A kind has a resource's names, its scope and its verbs; discovery and routing both use it. This module must not hold
objects.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
PROXY_VERBS = ("create", "delete", "get", "patch", "update")
STATUS_VERBS = ("get", "patch", "update")
METADATA_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_MORE_FIELDS = {
    "pods": {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase"},
    "events": {"involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid", "type"}
    | {"reason", "reportingComponent", "source"},
    "secrets": {"type"},
    "namespaces": {"status.phase"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A path below an object, such as `status`; an empty group means the parent's group."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedKind:
    """A resource in one group and version; all its versions share the storage `(group, plural)`."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    custom: bool = False
    generation: bool = False
    list_kind: str = ""
    storage_version: str = ""

    @property
    def api_version(self) -> str:
        """Return `apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage(self) -> tuple[str, str]:
        """Return the key of the table that holds the objects."""
        # Events are served by two groups, which share the same objects.
        return "" if self.group == "events.k8s.io" else self.group, self.plural

    @property
    def fields(self) -> frozenset[str]:
        """Return the paths that a field selector may use."""
        return METADATA_FIELDS | _MORE_FIELDS.get(self.plural, set())

    @property
    def has_status(self) -> bool:
        """Return True if the status can only be written through its subresource."""
        return any(sub.name == "status" for sub in self.subresources)

    def storage_hash(self) -> str:
        """Return the `storageVersionHash` of discovery."""
        text = f"{self.group}/{self.storage_version or self.version}/{self.kind}"
        return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


@dataclass(slots=True)
class Registry:
    """The kinds that are served now, by (group, version), then plural; groups keep the order of addition."""

    versions: dict[tuple[str, str], dict[str, ServedKind]] = field(default_factory=dict)

    def groups(self) -> dict[str, list[str]]:
        """Return the versions of every group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for group, version in self.versions:
            found.setdefault(group, []).append(version)
        return found

    def get(self, group: str, version: str, plural: str) -> ServedKind | None:
        """Return the kind served under this path, or None."""
        return self.versions.get((group, version), {}).get(plural)

    def find(self, resource: str) -> ServedKind:
        """Return the kind named `pods`, `deployments.apps` or, without a group, `deployments`. Raises KeyError."""
        plural, _, group = resource.partition(".")
        exact = [kind for kind in self if (kind.plural, kind.group) == (plural, group)]
        if found := exact or [kind for kind in self if not group and plural == kind.plural]:
            return found[0]
        raise KeyError(resource)

    def add(self, kind: ServedKind) -> None:
        """Start serving a kind."""
        self.versions.setdefault((kind.group, kind.version), {})[kind.plural] = kind

    def remove(self, storage: tuple[str, str]) -> None:
        """Stop serving every version of a resource, and its group if that is empty then."""
        for version, kinds in list(self.versions.items()):
            if version[0] == storage[0] and storage[1] in kinds:
                del kinds[storage[1]]
                if not kinds:
                    del self.versions[version]

    def __iter__(self) -> Iterator[ServedKind]:
        """Iterate over all kinds of all versions."""
        for kinds in self.versions.values():
            yield from kinds.values()


def custom(definition: Json) -> list[ServedKind]:
    """Return the kinds that a CustomResourceDefinition serves, one for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    storage_version = next((item["name"] for item in spec["versions"] if item.get("storage")), "")
    return [
        ServedKind(
            group=spec["group"],
            version=item["name"],
            plural=names["plural"],
            kind=names["kind"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec["scope"] == "Namespaced",
            short=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            verbs=CUSTOM_VERBS,
            subresources=tuple(_custom_subresources(names["kind"], item)),
            custom=True,
            generation=True,
            list_kind=names.get("listKind") or f"{names['kind']}List",
            storage_version=storage_version,
        )
        for item in spec["versions"]
        if item.get("served")
    ]


def _custom_subresources(kind: str, version: Json) -> Iterator[Subresource]:
    declared = version.get("subresources") or {}
    if "status" in declared:
        yield Subresource(name="status", kind=kind, verbs=STATUS_VERBS)
    if "scale" in declared:
        yield Subresource(name="scale", kind="Scale", verbs=STATUS_VERBS, group="autoscaling", version="v1")
