"""Generates the files of the Helm chart that repeat something: the schema of its values, plurals, alerts, dashboard.

Helm compiles the schema's patterns with Go's RE2, which has no lookaheads. They are left out: what the chart accepts
then, Beacon still rejects at startup.

Helm reads YAML into numbers and truth values and writes these, so that a text `1.10` would reach Beacon as `1.1`, and
`on` as `true`. Where the configuration takes text, the chart therefore accepts only text and integers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beacon import codec
from beacon.dev.reference import schema
from beacon.domain import builtin

_ROOT = Path(__file__).parents[3]
PATH = _ROOT / "k8s" / "chart"
_COPIES = {
    "files/prometheusrule.yaml": _ROOT / "k8s" / "overlays" / "monitoring" / "prometheusrule.yaml",
    "files/dashboard.json": _ROOT / "grafana" / "dashboard.json",
}

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECT: Json = {"type": "object"}
_OBJECTS: Json = {"type": "array", "items": {"type": "object"}}


def files() -> Mapping[str, bytes]:
    """Return the generated files by their path inside the chart."""
    made = {
        "values.schema.json": codec.encode_pretty(values_schema()),
        "files/plurals.json": codec.encode_pretty(_plurals()),
    }
    return made | {name: source.read_bytes() for name, source in _COPIES.items()}


def values_schema() -> Json:
    """Return the schema of the chart's values; that of the configuration is part of it."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of Beacon's chart",
        **_closed(
            config=_embedded(schema.document()),
            configInSecret=_FLAG,
            token=_TEXT,
            existingSecret=_TEXT,
            image=_image(),
            imagePullSecrets=_OBJECTS,
            nameOverride=_TEXT,
            fullnameOverride=_TEXT,
            persistence=_volume(),
            backups=_volume(),
            resources=_OBJECT,
            rbac=_closed(create=_FLAG, name=_TEXT, identity=_FLAG),
            serviceAccount=_closed(create=_FLAG, name=_TEXT, annotations=_TEXTS),
            networkPolicy=_closed(enabled=_FLAG, egress=_OBJECTS),
            serviceMonitor=_closed(enabled=_FLAG, interval=_TEXT, scrapeTimeout=_TEXT, labels=_TEXTS),
            prometheusRule=_closed(enabled=_FLAG, labels=_TEXTS),
            dashboard=_closed(enabled=_FLAG, labels=_TEXTS),
            testEndpoint=_closed(enabled=_FLAG, image=_image()),
            openshift=_FLAG,
            podSecurityContext=_OBJECT,
            podAnnotations=_TEXTS,
            podLabels=_TEXTS,
            nodeSelector=_TEXTS,
            affinity=_OBJECT,
            tolerations=_OBJECTS,
            priorityClassName=_TEXT,
            extraEnv=_OBJECTS,
            extraVolumes=_OBJECTS,
            extraVolumeMounts=_OBJECTS,
            # The templates refuse them with a sentence that states the reason.
            replicas={},
            replicaCount={},
            # Helm adds these for subcharts.
            **{"global": _OBJECT},
        ),
    }


def _image() -> Json:
    return _closed(
        repository=_TEXT | {"minLength": 1},
        tag=_TEXT,
        digest=_TEXT | {"pattern": "^(sha256:[0-9a-f]{64})?$"},
        pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    )


def _volume() -> Json:
    return _closed(
        enabled=_FLAG,
        size=_TEXT,
        storageClass=_TEXT,
        accessMode={"enum": ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]},
        existingClaim=_TEXT,
    )


def _closed(**properties: Json) -> Json:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _embedded(document: Json) -> Json:
    """Return the configuration's schema for its place in the values, as far as Helm can apply it."""
    inner = {key: value for key, value in document.items() if key != "$schema"}
    moved: Json = _changed(inner)
    return moved


def _changed(node: Any) -> Any:
    if isinstance(node, list):
        return [_changed(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _changed_value(key, value) for key, value in node.items()}


def _changed_value(key: str, value: Any) -> Any:
    if key == "pattern" and isinstance(value, str):
        return for_go(value)
    if key == "type" and isinstance(value, list) and {"string", "number", "boolean"} <= set(value):
        return ["string", "integer", *(["null"] if "null" in value else [])]
    if key == "$ref" and isinstance(value, str):
        return value.replace("#/", "#/properties/config/", 1)
    return _changed(value)


def for_go(pattern: str) -> str:
    """Return a pattern without negative lookaheads, with escapes that Go's RE2 knows."""
    while (at := pattern.find("(?!")) >= 0:
        pattern = pattern[:at] + pattern[_end_of_group(pattern, at) :]
    head, *escaped = pattern.split("\\u")
    return head + "".join(f"\\x{{{each[:4]}}}{each[4:]}" for each in escaped)


def _end_of_group(pattern: str, at: int) -> int:
    """Return the position after the group that begins at `at`; brackets and escapes are skipped."""
    depth, inside = 0, False
    skipped = False
    for place in range(at, len(pattern)):
        char = pattern[place]
        if skipped or char == "\\":
            skipped = not skipped
        elif inside or char == "[":
            inside = char != "]"
        elif char in "()":
            depth += 1 if char == "(" else -1
            if not depth:
                return place + 1
    raise ValueError(pattern)


def _plurals() -> Json:
    """Return the plural and the scope of each built-in kind by API group and kind."""
    found: dict[str, Json] = {}
    for (group, kind), one in builtin.every().items():
        found.setdefault(group, {})[kind] = {"plural": one.plural, "namespaced": one.namespaced}
    return found
