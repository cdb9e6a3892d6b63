"""The rights Beacon needs under a configuration, and the roles that grant exactly those. Pure.

Watcher and reconciler list and watch every scope, and read the UID of namespace kube-system, which identifies the
cluster. Every service account may use discovery. tests/system/test_rights.py proves that the rights are sufficient and
none is superfluous.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

_API_GROUP = "rbac.authorization.k8s.io"
_SYSTEM = "kube-system"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """One permission: a verb on a resource in one namespace or ("") in all, restricted to `name` if it is set."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""

    def __str__(self) -> str:
        """Return the permission in the words of kubectl."""
        what = f'"{self.resource}"' + (f' "{self.name}"' if self.name else "")
        where = f'in namespace "{self.namespace}"' if self.namespace else "in all namespaces"
        return f'"{self.verb}" {what} in API group "{self.group}" {where}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A scope as RBAC rules name it: a plural of an API group, in one namespace or ("") in all."""

    group: str
    plural: str
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The subjects that receive the rights, and the name of their roles.

    They are the users and groups, or else the service account.
    """

    name: str
    namespace: str
    account: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def subjects(self) -> list[Manifest]:
        """Return the subjects of a binding."""
        named = [("User", name) for name in self.users] + [("Group", name) for name in self.groups]
        if named:
            return [{"kind": kind, "apiGroup": _API_GROUP, "name": name} for kind, name in named]
        return [{"kind": "ServiceAccount", "name": self.account, "namespace": self.namespace}]


IDENTITY = Right(namespace=_SYSTEM, group="", resource="namespaces", verb="get", name=_SYSTEM)


def of(watched: Watched) -> tuple[Right, ...]:
    """Return the rights required to watch a scope."""
    return tuple(
        Right(namespace=watched.namespace, group=watched.group, resource=watched.plural, verb=verb)
        for verb in ("list", "watch")
    )


def manifests(rights: Iterable[Right], holder: Holder) -> list[Manifest]:
    """Return the roles that grant exactly these rights, each followed by its binding."""
    wanted = set(rights)
    # A kind that is watched in all namespaces needs a ClusterRole, which can also hold the right to the one object.
    everywhere = any(not right.namespace for right in wanted)
    places: dict[str, list[Right]] = {}
    for right in sorted(wanted):
        place = "" if everywhere and right.name else right.namespace
        places.setdefault(place, []).append(right)
    return [manifest for place, held in sorted(places.items()) for manifest in _role(place, held, holder)]


def _role(place: str, rights: Sequence[Right], holder: Holder) -> list[Manifest]:
    kind = "Role" if place else "ClusterRole"
    metadata = {"name": holder.name} | ({"namespace": place} if place else {})
    head = {"apiVersion": f"{_API_GROUP}/v1", "metadata": metadata}
    return [
        _in_order(head | {"kind": kind, "rules": _rules(rights)}),
        _in_order(
            head
            | {
                "kind": f"{kind}Binding",
                "roleRef": {"apiGroup": _API_GROUP, "kind": kind, "name": holder.name},
                "subjects": holder.subjects,
            }
        ),
    ]


def _rules(rights: Sequence[Right]) -> list[Manifest]:
    """Merge rights with the same API group, verbs and names into one rule."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.name, right.resource), []).append(right.verb)
    resources: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, name, resource), allowed in verbs.items():
        resources.setdefault((group, name, tuple(allowed)), []).append(resource)
    return [
        {"apiGroups": [group], "resources": sorted(named)}
        | ({"resourceNames": [name]} if name else {})
        | {"verbs": list(allowed)}
        for (group, name, allowed), named in sorted(resources.items())
    ]


def _in_order(manifest: Mapping[str, Any]) -> Manifest:
    """Return the manifest with its keys in the conventional order."""
    order = ("apiVersion", "kind", "metadata", "rules", "roleRef", "subjects")
    return {key: manifest[key] for key in order if key in manifest}
