"""Parsing of a request: verb, resource, namespace, name, and the accepted form of the response.

Routing, RBAC and the matching of faults share the result. This module must not answer a request.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from beacon.dev.api_server import status

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
_NAMESPACE_PARTS = frozenset({"status", "finalize"})
_META_GROUP = "meta.k8s.io"


class PathForm(StrEnum):
    """The representation that a client accepts."""

    FULL = "full"  # the complete object
    METADATA = "PartialObjectMetadata"  # only its metadata
    METADATA_LIST = "PartialObjectMetadataList"  # only the metadata of each item


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """A request in the terms of RBAC. Without a resource it is for the path itself, such as `/version`."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """Return the resource in RBAC's notation: `pods`, `deployments/scale`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def read(method: str, path: str, query: Mapping[str, str]) -> Info:
    """Parse a request's method, path and query."""
    verb = _VERBS.get(method, method.lower())
    group, version, parts = _split(path)
    if not parts:
        return Info(verb=verb, path=path, group=group, version=version)
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in _NAMESPACE_PARTS:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = [*parts, "", ""][:3]
    if plural == "namespaces":
        namespace = name
    watching = query.get("watch") in {"true", "1"}
    if verb == "get" and (watching or not name):
        verb = "watch" if watching else "list"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    return Info(
        verb=verb,
        path=path,
        group=group,
        version=version,
        plural=plural,
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


def form(accept: str, *, lists: bool, single_only: bool = False) -> PathForm:
    """Return the first acceptable form. Raises 406 if there is none, or if it does not fit the object."""
    for clause in accept.split(",") if accept.strip() else ["*/*"]:
        media_type, *parameters = [part.strip() for part in clause.split(";")]
        found = _form(media_type, dict(part.split("=", 1) for part in parameters if "=" in part))
        if found is None:
            continue
        if found is PathForm.METADATA_LIST and not lists:
            raise status.not_acceptable(
                "you requested PartialObjectMetadataList, but the requested object is not a list"
            )
        if found is PathForm.METADATA and lists and not single_only:
            raise status.not_acceptable("you requested PartialObjectMetadata, but the requested object is a list")
        return found
    raise status.not_acceptable()


def _form(media_type: str, parameters: dict[str, str]) -> PathForm | None:
    if media_type not in {"application/json", "*/*", "application/*"}:
        return None
    wanted = parameters.get("as")
    if wanted is None:
        return PathForm.FULL
    known = wanted in {PathForm.METADATA, PathForm.METADATA_LIST}
    if known and parameters.get("g") == _META_GROUP and parameters.get("v") == "v1":
        return PathForm(wanted)
    return None


def _split(path: str) -> tuple[str, str, list[str]]:
    found = re.match(
        r"/api/(?P<core>[^/]+)(?P<rest>/.*)?$|/apis/(?P<group>[^/]+)/(?P<version>[^/]+)(?P<more>/.*)?$", path
    )
    if not found:
        return "", "", []
    rest = found["rest"] or found["more"] or ""
    return found["group"] or "", found["core"] or found["version"], [part for part in rest.split("/") if part]
