"""Checks of a request against the public contract: method, headers, CloudEvents 1.0 structured mode, Beacon's data.

Pure. The rules come from the CloudEvents specification 1.0 (sections 3.1 and 4), its JSON event format and HTTP
binding, and from Beacon's documentation. They must not be derived from the sending code.
"""

import enum
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beacon import codec
from beacon.dev.endpoint import values

MEDIA_TYPE = "application/cloudevents+json"

_STANDARD = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"})
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]+")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_MEDIA = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;.*)?")
_URI_REFERENCE = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_SEQUENCE = re.compile(r"[0-9]{20}")
_INT32 = range(-(2**31), 2**31)

_RESOURCE = ("uid", "apiVersion", "type", "name", "namespace", "annotationValue")
_NEVER_EMPTY = ("uid", "apiVersion", "type", "name")
_MAPS = ("annotations", "labels")
_CHANGES = ("created", "updated", "deleted")
_SOURCES = ("watch", "mutation", "reconciliation")


class Shape(enum.StrEnum):
    """How strictly a body is checked."""

    BEACON = "beacon"  # a CloudEvent with Beacon's extensions and data
    CLOUDEVENT = "cloudevent"  # any CloudEvent
    ANY = "any"  # a JSON object with an id: for benchmarks


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """The requirements for a request."""

    methods: tuple[str, ...] = ("POST",)
    token: str = ""  # of `Authorization: Bearer`; empty: not required
    required_headers: tuple[tuple[str, str], ...] = ()  # name and value; an empty value: any
    shape: Shape = Shape.BEACON


READERS: dict[str, values.Reader] = {
    "methods": values.texts,
    "token": values.text,
    "required_headers": values.pairs,
    "shape": values.choice(Shape),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRefusal:
    """The status and reason with which a request is refused."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class CheckedEnvelope:
    """The attributes of an event that are counted, matched and shown; empty or 0 if missing."""

    id: str
    type: str
    key: str
    ledger: str
    sequence: int
    previous: int
    redelivered: bool
    time_s: float
    kind: str
    namespace: str
    name: str
    value: str


def refuse_head(method: str, headers: Mapping[bytes, bytes], demands: Demands) -> CheckRefusal | None:
    """Check method and headers (names in lower case). Return None if they are correct."""
    if method not in demands.methods:
        return CheckRefusal(status=405, reason=f"the method must be {' or '.join(demands.methods)}, not {method}")
    if demands.token and headers.get(b"authorization") != f"Bearer {demands.token}".encode():
        return CheckRefusal(status=401, reason="the bearer token is missing or wrong")
    for name, wanted in demands.required_headers:
        found = headers.get(name.lower().encode())
        if found is None or (wanted and found != wanted.encode()):
            return CheckRefusal(status=400, reason=f"the header {name} is {'missing' if found is None else 'wrong'}")
    if demands.shape is not Shape.ANY and not _structured(headers.get(b"content-type", b"")):
        return CheckRefusal(status=415, reason=f"the content type must be {MEDIA_TYPE} in UTF-8")
    return None


def read(body: bytes, demands: Demands) -> CheckedEnvelope | CheckRefusal:
    """Parse a body. Return its event, or a refusal that lists all problems."""
    try:
        document = codec.decode(body)
    except codec.DecodeError as error:
        return CheckRefusal(status=400, reason=f"the body is not JSON: {error}")
    if not isinstance(document, dict):
        return CheckRefusal(status=400, reason="the body is not a JSON object")
    found = problems(document, demands.shape)
    return CheckRefusal(status=400, reason="; ".join(found)) if found else _envelope(document)


def problems(document: dict[str, Any], shape: Shape) -> list[str]:
    """Return all violations of this shape in a document."""
    if shape is Shape.ANY:
        return [] if _filled(document.get("id")) else ["id is missing"]
    found = [*_required(document), *_optional(document), *_extensions(document)]
    if shape is Shape.BEACON:
        found += [*_beacon_attributes(document), *_beacon_data(document.get("data"))]
    return found


@functools.lru_cache(maxsize=1024)
def instant(text: str) -> float | None:
    """Parse an RFC 3339 timestamp as seconds since 1970; return None if it is invalid."""
    upper = text.upper()
    if not _RFC3339.fullmatch(upper):
        return None
    try:
        return datetime.fromisoformat(upper).timestamp()
    except ValueError:  # correct form, but an impossible date such as February 31
        return None


def _required(document: dict[str, Any]) -> Iterable[str]:
    for name in ("id", "source", "type"):
        if not _filled(document.get(name)):
            yield f"{name} must be a text that isn't empty"
    if document.get("specversion") != "1.0":
        yield "specversion must be 1.0"
    if _filled(document.get("source")) and not _URI_REFERENCE.fullmatch(document["source"]):
        yield "source must be a URI reference"


def _optional(document: dict[str, Any]) -> Iterable[str]:
    for name in ("subject", "dataschema"):
        if document.get(name) is not None and not _filled(document[name]):
            yield f"{name} must be a text that isn't empty"
    if (time := document.get("time")) is not None and (not isinstance(time, str) or instant(time) is None):
        yield "time must be a date and time of RFC 3339"
    if (media := document.get("datacontenttype")) is not None and not (
        isinstance(media, str) and _MEDIA.fullmatch(media)
    ):
        yield "datacontenttype must be a media type"
    if "data" in document and "data_base64" in document:
        yield "data and data_base64 exclude each other"


def _extensions(document: dict[str, Any]) -> Iterable[str]:
    for name, value in document.items():
        if name in _STANDARD or name in {"data", "data_base64"}:
            continue
        if not _ATTRIBUTE_NAME.fullmatch(name):
            yield f"the attribute name {name!r} must be lower-case letters and digits"
        if isinstance(value, str | bool | None) or (isinstance(value, int) and value in _INT32):
            continue
        yield f"{name} must be a text, true or false, or an integer of 32 bits"


def _beacon_attributes(document: dict[str, Any]) -> Iterable[str]:
    for name in ("subject", "time", "partitionkey", "ledgerid"):
        if not _filled(document.get(name)):
            yield f"{name} is missing"
    for name in ("sequence", "previous"):
        value = document.get(name)
        if not isinstance(value, str) or not _SEQUENCE.fullmatch(value):
            yield f"{name} must be a number of 20 digits"
    if document.get("datacontenttype") != "application/json":
        yield "datacontenttype must be application/json"
    change = str(document.get("type")).rpartition(".")[2]
    if change not in _CHANGES and not (change == "test" and document.get("test") is True):
        yield f"type must end in {', '.join(_CHANGES)}"
    if not isinstance(document.get("redelivered", False), bool):
        yield "redelivered must be true or false"


def _beacon_data(data: object) -> Iterable[str]:
    parts = {name: _part(data, name) for name in ("resource", "metadata", "detection")}
    missing = [name for name, part in parts.items() if part is None]
    if missing:
        return [f"data.{name} must be an object" for name in missing]
    resource, metadata, detection = (part or {} for part in parts.values())
    found = [f"data.resource.{name} must be a text" for name in _RESOURCE if not isinstance(resource.get(name), str)]
    found += [f"data.resource.{name} is empty" for name in _NEVER_EMPTY if not resource.get(name)]
    found += [f"data.metadata.{name} must map texts" for name in _MAPS if not _map_of_texts(metadata.get(name))]
    version = metadata.get("resourceVersion")
    if not isinstance(version, str) or not version.isdigit():
        found.append("data.metadata.resourceVersion must be digits in a text")
    return found + _detection_problems(detection)


def _detection_problems(detection: dict[str, Any]) -> list[str]:
    found = []
    if detection.get("source") not in _SOURCES:
        found.append(f"data.detection.source must be one of {', '.join(_SOURCES)}")
    if not isinstance(detection.get("cause"), str):
        found.append("data.detection.cause must be a text")
    for name in ("detectedAt", "notBefore", "notAfter"):
        value = detection.get(name)
        unknown = value == "" and name != "detectedAt"  # only a change found by comparison has bounds
        if not unknown and (not isinstance(value, str) or instant(value) is None):
            found.append(f"data.detection.{name} must be a date and time of RFC 3339")
    return found


def _envelope(document: dict[str, Any]) -> CheckedEnvelope:
    resource = _part(document.get("data"), "resource") or {}
    time = document.get("time")
    return CheckedEnvelope(
        document["id"],
        _text(document.get("type")),
        _text(document.get("partitionkey")),
        _text(document.get("ledgerid")),
        _whole(document.get("sequence")),
        _whole(document.get("previous")),
        document.get("redelivered") is True,
        (instant(time) or 0.0) if isinstance(time, str) else 0.0,
        _text(resource.get("type")),
        _text(resource.get("namespace")),
        _text(resource.get("name")),
        _text(resource.get("annotationValue")),
    )


@functools.lru_cache(maxsize=64)
def _structured(content_type: bytes) -> bool:
    media, *parameters = content_type.decode("latin-1").lower().split(";")
    charsets = {
        value.strip(' "') for name, _, value in (p.partition("=") for p in parameters) if name.strip() == "charset"
    }
    return media.strip() == MEDIA_TYPE and charsets <= {"utf-8"}


def _filled(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _part(data: object, name: str) -> dict[str, Any] | None:
    part = data.get(name) if isinstance(data, dict) else None
    return part if isinstance(part, dict) else None


def _map_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else 0
