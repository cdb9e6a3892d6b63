"""The documents that describe the API: /version, /api, /apis, resources, aggregated discovery, and a little OpenAPI.

They are built from the registry, so a custom resource appears in all of them at once. The OpenAPI documents contain
only what makes kubectl leave validation to the server. This module must not read objects.
"""

from typing import Any

from beacon.dev.api_server import kinds

Json = dict[str, Any]

VERSION: Json = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "$Format:%H$", "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26.6", "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def wants_aggregated(accept: str) -> bool:
    """Return True if the client prefers aggregated discovery."""
    for clause in accept.split(","):
        parts = {part.strip() for part in clause.split(";")}
        if parts == {"application/json"}:
            return False
        if {"application/json", "g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parts:
            return True
    return False


def api_versions(address: str) -> Json:
    """Return the document of /api."""
    servers = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": servers}


def group_list(registry: kinds.Registry) -> Json:
    """Return the document of /apis."""
    groups = [group(name, versions) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(name: str, versions: list[str], *, standalone: bool = False) -> Json:
    """Return one group, as an item of /apis or as the document /apis/<group>."""
    shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    head = {"kind": "APIGroup", "apiVersion": "v1"} if standalone else {}
    return {**head, "name": name, "versions": shown, "preferredVersion": shown[0]}


def resource_list(served: dict[str, kinds.ServedKind], group_version: str) -> Json:
    """Return the resources of one group and version, subresources included."""
    resources: list[Json] = []
    for kind in served.values():
        resources.append(_resource(kind))
        resources.extend(_subresource(kind, sub) for sub in kind.subresources)
    # Only the core group's document has no apiVersion.
    head = {"apiVersion": "v1"} if "/" in group_version else {}
    return {"kind": "APIResourceList", **head, "groupVersion": group_version, "resources": resources}


def aggregated(registry: kinds.Registry, *, core: bool) -> Json:
    """Return the aggregated form of /api or /apis."""
    items = []
    for name, versions in registry.groups().items():
        if (not name) is not core:
            continue
        shown = [_aggregated_version(registry, name, version) for version in versions]
        items.append({"metadata": {"name": name} if name else {}, "versions": shown})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def openapi_index(registry: kinds.Registry) -> Json:
    """Return the document of /openapi/v3."""
    paths = {}
    for name, version in registry.versions:
        path = f"apis/{name}/{version}" if name else f"api/{version}"
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={len(registry.versions)}"}
    return {"paths": paths}


def openapi(served: dict[str, kinds.ServedKind], prefix: str) -> Json:
    """Return the OpenAPI document of one group and version; it only declares that patches take `fieldValidation`."""
    paths: Json = {}
    for kind in served.values():
        middle = "/namespaces/{namespace}" if kind.namespaced else ""
        identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        names = ("dryRun", "fieldManager", "fieldValidation", "force")
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
        operation = {"x-kubernetes-group-version-kind": identity, "x-kubernetes-action": "patch"}
        described = {**operation, "parameters": parameters, "responses": {"200": {"description": "OK"}}}
        paths[f"/{prefix}{middle}/{kind.plural}/{{name}}"] = {"patch": described}
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _resource(kind: kinds.ServedKind) -> Json:
    shown: Json = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced}
    shown |= {"kind": kind.kind, "verbs": list(kind.verbs)}
    shown |= _names(kind)
    if "list" in kind.verbs and "watch" in kind.verbs:
        shown["storageVersionHash"] = kind.storage_hash()
    return shown


def _names(kind: kinds.ServedKind) -> Json:
    shown: Json = {"shortNames": list(kind.short)} if kind.short else {}
    return shown | ({"categories": list(kind.categories)} if kind.categories else {})


def _subresource(kind: kinds.ServedKind, sub: kinds.Subresource) -> Json:
    shown: Json = {"name": f"{kind.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
    if sub.group:
        shown |= {"group": sub.group, "version": sub.version}
    return shown | {"kind": sub.kind, "verbs": list(sub.verbs)}


def _aggregated_version(registry: kinds.Registry, name: str, version: str) -> Json:
    resources = [_aggregated_resource(kind) for kind in registry.versions[name, version].values()]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _aggregated_resource(kind: kinds.ServedKind) -> Json:
    # For the core group, both group and version are empty here.
    group_name, version = (kind.group, kind.version) if kind.group else ("", "")
    shown: Json = {
        "resource": kind.plural,
        "responseKind": {"group": group_name, "version": version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
        **_names(kind),
    }
    if kind.subresources:
        shown["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group or group_name, "version": sub.version or version, "kind": sub.kind},
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return shown
