"""Generates the JSON Schema of the configuration for editors (draft 7, which most editors support).

It describes the file as a YAML editor sees it, with typed scalars, so that a string may be written as a number.
Whatever the schema rejects, `check-config` rejects or corrects with a warning. The schema covers few rules that concern
several keys, so `check-config` is authoritative. The URL of the only endpoint is not required: `ENDPOINT_URL` may set
it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from beacon.boundary import secret
from beacon.configuration import checks, settings, values
from beacon.dev.reference import keys

PATH = Path(__file__).parents[3] / "docs" / "configuration.schema.json"

Json = dict[str, Any]

_PART = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_HOST = r"([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?|\[[0-9a-fA-F:.]+(%[A-Za-z0-9]+)?\])"
_KINDS = {
    settings.ValueKind.DURATION: rf"\+?(0|({_PART})+)",
    settings.ValueKind.SIZE: r"[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?",
    settings.ValueKind.URL: rf"[Hh][Tt][Tt][Pp][Ss]?://{_HOST}(:(?!0+([/?]|$))[0-9]*)?([/?][\x21\x22\x24-\x7e]*)?",
    settings.ValueKind.PATH: values.PATH,
    settings.ValueKind.LABEL: values.LABEL,
    settings.ValueKind.NAMESPACE: values.NAMESPACE,
    settings.ValueKind.PORT: r"[0-9]{1,5}",
    settings.ValueKind.GROUP_KIND: values.GROUP_KIND,
    settings.ValueKind.PATTERN: values.PATTERN,
    settings.ValueKind.PROXY_URL: (
        rf"([Hh][Tt][Tt][Pp][Ss]?|[Ss][Oo][Cc][Kk][Ss]5[Hh]?)://{_HOST}(:(?!0+(/|$))[0-9]*)?/?"
    ),
    settings.ValueKind.STATUS: values.STATUS,
}
_OWN = {
    "app.version": checks.VERSION,
    "app.clusterName": checks.CLUSTER_NAME,
    "resources.apiVersion": rf"(?!{checks.REFUSED_GROUP}){checks.API_VERSION}",
    "resources.kind": checks.KIND,
    "resources.resource": checks.PLURAL,
    "annotation.key": checks.ANNOTATION,
    "cloudEvents.source": checks.SOURCE,
    "cloudEvents.typePrefix": checks.TYPE_PREFIX,
    "storage.dbPath": r"/[^\u0000]*",
    "backup.path": r"(/[^\u0000]*)?",
}
_WORDS = ("true", "t", "yes", "y", "on", "1", "false", "f", "no", "n", "off", "0")
_NUMBER = r"\s*[-+]?[0-9][0-9_]*(\.[0-9]*)?([eE][-+]?[0-9]+)?\s*"
_SCALAR = ["string", "number", "boolean"]


def document() -> Json:
    """Return the schema."""
    head: Json = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of Beacon",
        "description": "`beacon check-config FILE` is authoritative: it also checks rules that concern several keys.",
    }
    made: Json = head | _section(keys.tree())
    entry = {"$ref": "#/properties/endpoint"}
    made["properties"]["endpoints"] = {
        "description": f"Instead of `endpoint`: up to {checks.MOST_ENDPOINTS} endpoints, each with its own `name`.",
        "type": ["array", "null"],
        "minItems": 1,
        "maxItems": checks.MOST_ENDPOINTS,
        "items": entry,
        "if": {"minItems": 2},
        "then": {"items": {"type": "object", "required": ["url"]}},
    }
    return made


def _section(section: keys.Section) -> Json:
    inside = {one.name: _section(one) for one in section.sections}
    inside |= {one.name: _key(section.path, one) for one in section.keys}
    required = [one.name for one in section.keys if one.required and one.name != "url"]
    required += [one.name for one in section.sections if one.many]
    made: Json = {"type": "object" if required else ["object", "null"], "additionalProperties": False}
    made |= {"properties": inside} | ({"required": required} if required else {})
    made |= _TOGETHER.get(section.path, {})
    return {"type": "array", "minItems": 1, "items": made} if section.many else made


def _key(path: str, key: keys.Key) -> Json:
    described: Json = {"description": key.effect}
    if not (key.required or key.is_map or key.allowed.kind is settings.ValueKind.PROXY_URL):  # no URL is the default
        described["default"] = _default(key)
    name = f"{path}.{key.name}"
    if key.is_map:
        if key.allowed.kind is settings.ValueKind.PARAMETERS:
            values_: Json = {"type": ["object", "null"], "additionalProperties": {"type": [*_SCALAR, "null"]}}
            return described | {"anyOf": [values_, {"const": ""}]}
        files = key.allowed.kind is settings.ValueKind.HEADER_FILES
        return described | (_header_files() if files else _headers())
    if key.is_list:
        return described | _list(key)
    if key.hint is bool:
        return described | _truth()
    if key.hint in (int, float) and key.allowed.kind is not settings.ValueKind.DURATION:
        return described | _number(key)
    return described | _text(name, key)


def _default(key: keys.Key) -> Any:
    """Return the default in the notation of the configuration file."""
    if key.is_list:
        return list(key.default)
    written_as_text = key.allowed.kind in (settings.ValueKind.DURATION, settings.ValueKind.SIZE)
    return keys.shown(key, key.default) if written_as_text else key.default


def _text(name: str, key: keys.Key) -> Json:
    """Return the schema of a string. An empty string and null mean the default, if there is one."""
    if key.allowed.one_of:
        return {"enum": [*key.allowed.one_of, "", None]}
    pattern = _OWN.get(name) or _KINDS.get(key.allowed.kind) if key.allowed.kind else _OWN.get(name)
    types = ["string"] if key.allowed.kind in (settings.ValueKind.URL, settings.ValueKind.DURATION) else _SCALAR
    if not pattern:
        return {"type": types if key.required else [*types, "null"]}
    if key.required:
        return {"type": types, "pattern": _whole(pattern)}
    return {"type": [*types, "null"], "pattern": _whole(f"({pattern})?")}


def _number(key: keys.Key) -> Json:
    allowed = key.allowed
    pattern = _KINDS.get(allowed.kind, _NUMBER) if allowed.kind else _NUMBER
    made: Json = {"type": [_json_type(key), "string", "null"], "pattern": _whole(f"({pattern})?")}
    bounds = {"minimum": allowed.least, "exclusiveMinimum": allowed.above, "maximum": allowed.most}
    if allowed.kind is settings.ValueKind.PORT:
        bounds = {"minimum": 0, "maximum": 65535}
    return made | {word: int(bound) for word, bound in bounds.items() if bound is not None}


def _json_type(key: keys.Key) -> str:
    return "integer" if key.hint is int else "number"


def _truth() -> Json:
    words = "|".join("".join(f"[{char}{char.upper()}]" if char.isalpha() else char for char in word) for word in _WORDS)
    return {"anyOf": [{"type": ["boolean", "null"]}, {"type": "string", "pattern": _whole(f"({words})?")}, _BIT]}


def _list(key: keys.Key) -> Json:
    pattern = _KINDS.get(key.allowed.kind) if key.allowed.kind else None
    item: Json = {"type": _SCALAR} | ({"pattern": _whole(f"({pattern})?")} if pattern else {})
    if key.allowed.one_of:
        item = {"enum": [*key.allowed.one_of, ""]}
    if key.allowed.kind is settings.ValueKind.STATUS:
        item |= {"minimum": 300, "maximum": 499, "not": {"enum": [408, 425, 429]}}
    return {"anyOf": [{"type": ["array", "null"], "items": item}, {"const": ""}]}


def _header_files() -> Json:
    refused = f"({_any_case(sorted(values.RESERVED))})$|({_any_case(values.RESERVED_BEGINNINGS)})"
    return {
        "anyOf": [
            {
                "type": ["object", "null"],
                "propertyNames": {"pattern": _whole(rf"(?!{refused}){values.HEADER_NAME}")},
                "additionalProperties": {"type": _SCALAR, "pattern": r"^[^\u0000]+$"},
            },
            {"const": ""},
        ]
    }


def _any_case(names: Iterable[str]) -> str:
    return "|".join("".join(f"[{char}{char.upper()}]" if char.isalpha() else char for char in name) for name in names)


def _headers() -> Json:
    refused = _any_case(sorted(values.HOP_BY_HOP))
    value = rf"({values.HEADER_VALUE}[^\s\u00a0\u0085])?"
    return {
        "anyOf": [
            {
                "type": ["object", "null"],
                "propertyNames": {"pattern": _whole(rf"(?!({refused})$){values.HEADER_NAME}")},
                "additionalProperties": {
                    "type": [*_SCALAR, "null"],
                    "pattern": _whole(rf"(?!\s){value}"),
                    "not": {"type": "string", "pattern": f"(^| ){secret.PLACEHOLDER}$"},
                },
            },
            {"const": ""},
        ]
    }


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _filled(name: str, kind: Mapping[str, Any]) -> Json:
    return {"required": [name], "properties": {name: kind}}


_BIT: Json = {"enum": [0, 1]}
_TEXT = {"type": "string", "minLength": 1}
_SOME = {"type": "array", "minItems": 1}
_TOGETHER: Mapping[str, Json] = {
    "": {"not": {"allOf": [_filled("endpoint", {"type": "object"}), _filled("endpoints", {"type": "array"})]}},
    "resources": {"not": {"allOf": [_filled("namespaces", _SOME), _filled("excludeNamespaces", _SOME)]}},
    "endpoint.tls": {
        "if": {"anyOf": [_filled("certFile", _TEXT), _filled("keyFile", _TEXT)]},
        "then": {"required": ["certFile", "keyFile"]},
    },
    "endpoint.proxy": {
        "type": ["object", "string", "null"],
        "allOf": [
            {"if": {"type": "string"}, "then": {"enum": [settings.PROXY_OF_ENVIRONMENT, settings.NO_PROXY, ""]}},
            {
                "if": {"anyOf": [_filled("username", _TEXT), _filled("passwordFile", _TEXT)]},
                "then": {"required": ["url"]},
            },
        ],
    },
}
