"""Protobuf bodies of the kinds that kubectl and Helm send.

`kubectl create namespace` and similar commands always send protobuf, and so does Helm where it deletes. Their few
messages are described here by field number, as in Kubernetes' .proto files. A field that is not listed is dropped, a
kind that is not listed is refused. Responses are always JSON, which these clients accept.
"""

import base64
from collections.abc import Iterator
from typing import Any

from beacon.dev.api_server import status

Json = dict[str, Any]
# Field number -> name and type; `[type]` is a repeated field, `{type}` a map with values of that type;
# `?type` is a field whose 0 differs from its absence.
Schema = dict[int, tuple[str, str]]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_OBJECT: Schema = {1: ("metadata", "Metadata")}
_POD: Schema = {**_OBJECT, 2: ("spec", "PodSpec")}
_BINDING: Schema = {**_OBJECT, 2: ("subjects", "[Subject]"), 3: ("roleRef", "RoleRef")}
_ROLE: Schema = {**_OBJECT, 2: ("rules", "[Rule]")}

_SCHEMAS: dict[str, Schema] = {
    "Metadata": {
        1: ("name", "text"), 2: ("generateName", "text"), 3: ("namespace", "text"), 11: ("labels", "{text}"),
        12: ("annotations", "{text}"), 14: ("finalizers", "[text]"),
    },
    "Namespace": _OBJECT,
    "ServiceAccount": _OBJECT,
    "TokenRequest": {},
    "ConfigMap": {**_OBJECT, 2: ("data", "{text}"), 3: ("binaryData", "{bytes}"), 4: ("immutable", "flag")},
    "Secret": {**_OBJECT, 2: ("data", "{bytes}"), 3: ("type", "text"), 4: ("stringData", "{text}")},
    "Pod": _POD,
    "PodSpec": {2: ("containers", "[Container]"), 3: ("restartPolicy", "text"), 8: ("serviceAccountName", "text")},
    "Container": {
        1: ("name", "text"), 2: ("image", "text"), 3: ("command", "[text]"), 4: ("args", "[text]"),
        6: ("ports", "[Port]"), 7: ("env", "[Variable]"), 14: ("imagePullPolicy", "text"),
    },
    "Port": {1: ("name", "text"), 3: ("containerPort", "number"), 4: ("protocol", "text")},
    "Variable": {1: ("name", "text"), 2: ("value", "text")},
    "Deployment": {**_OBJECT, 2: ("spec", "DeploymentSpec")},
    "DeploymentSpec": {1: ("replicas", "number"), 2: ("selector", "Selector"), 3: ("template", "Pod")},
    "Selector": {1: ("matchLabels", "{text}")},
    "Job": {**_OBJECT, 2: ("spec", "JobSpec")},
    "JobSpec": {6: ("template", "Pod"), 7: ("backoffLimit", "number")},
    "Service": {**_OBJECT, 2: ("spec", "ServiceSpec")},
    "ServiceSpec": {1: ("ports", "[ServicePort]"), 2: ("selector", "{text}"), 4: ("type", "text")},
    "ServicePort": {1: ("name", "text"), 2: ("protocol", "text"), 3: ("port", "number")},
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "Rule": {
        1: ("verbs", "[text]"), 2: ("apiGroups", "[text]"), 3: ("resources", "[text]"), 4: ("resourceNames", "[text]"),
        5: ("nonResourceURLs", "[text]"),
    },
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "Subject": {1: ("kind", "text"), 2: ("apiGroup", "text"), 3: ("name", "text"), 4: ("namespace", "text")},
    "RoleRef": {1: ("apiGroup", "text"), 2: ("kind", "text"), 3: ("name", "text")},
    "SelfSubjectAccessReview": {2: ("spec", "ReviewSpec")},
    "ReviewSpec": {1: ("resourceAttributes", "Attributes")},
    "Attributes": {
        1: ("namespace", "text"), 2: ("verb", "text"), 3: ("group", "text"), 4: ("version", "text"),
        5: ("resource", "text"), 6: ("subresource", "text"), 7: ("name", "text"),
    },
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "?number"), 2: ("preconditions", "Preconditions"), 3: ("orphanDependents", "flag"),
        4: ("propagationPolicy", "text"), 5: ("dryRun", "[text]"),
    },
    "Preconditions": {1: ("uid", "text"), 2: ("resourceVersion", "text")},
    "TypeMeta": {1: ("apiVersion", "text"), 2: ("kind", "text")},
    "Envelope": {1: ("type", "TypeMeta"), 2: ("raw", "bytes")},
}  # fmt: skip


def decode(body: bytes) -> Json:
    """Return the object in a body. Raises 415 for an unknown kind, 400 for an invalid message."""
    if not body.startswith(_MAGIC):
        raise status.bad_request("the body is no Kubernetes protobuf message")
    try:
        envelope = _message(body[len(_MAGIC) :], "Envelope")
        kind = envelope["type"]["kind"]
        if kind not in _SCHEMAS:
            raise status.unsupported_media_type("application/json")
        return {**envelope["type"], **_message(base64.b64decode(envelope.get("raw", "")), kind)}
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise status.bad_request("the body is no Kubernetes protobuf message") from error


def _message(data: bytes, schema: str) -> Json:
    result: Json = {}
    for number, value in _fields(data):
        if number not in _SCHEMAS[schema]:
            continue
        name, kind = _SCHEMAS[schema][number]
        if kind.startswith("["):
            result.setdefault(name, []).append(_value(value, kind[1:-1]))
        elif kind.startswith("{") and isinstance(value, bytes):
            entry = dict(_fields(value))
            result.setdefault(name, {})[_value(entry.get(1, b""), "text")] = _value(entry.get(2, b""), kind[1:-1])
        elif kind.startswith("?"):
            result[name] = _value(value, kind[1:])
        # Go also writes empty fields; in JSON they are omitted.
        elif (found := _value(value, kind)) not in ("", 0, {}, False):
            result[name] = found
    return result


def _value(value: bytes | int, kind: str) -> Any:
    if isinstance(value, int):
        return bool(value) if kind == "flag" else value
    if kind == "text":
        return value.decode()
    if kind == "bytes":
        return base64.b64encode(value).decode()
    return _message(value, kind)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            yield number, data[at : at + length]
            at += length
        else:
            at += 8 if wire == 1 else 4


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
