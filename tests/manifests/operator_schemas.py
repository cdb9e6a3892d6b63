"""Schemas of the Prometheus operator's kinds, as far as the manifests use them; every other field is an error.

They are written by hand from the operator's API reference, because no package ships the CRDs. The manifests were
also validated once against the CRDs of operator 0.93, with unknown fields rejected.
"""

from typing import Any

Json = dict[str, Any]

_DURATION = {
    "type": "string",
    "minLength": 1,
    "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$",
}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_TEXT = {"type": "string", "minLength": 1}


def _closed(required: tuple[str, ...], **properties: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _kind(kind: str, spec: Json) -> Json:
    metadata = _closed(("name",), name=_TEXT, namespace=_TEXT, labels=_TEXTS, annotations=_TEXTS)
    names = {"apiVersion": {"const": "monitoring.coreos.com/v1"}, "kind": {"const": kind}}
    return _closed(("apiVersion", "kind", "metadata", "spec"), **names, metadata=metadata, spec=spec)


_ALERT = _closed(
    ("expr", "alert"),
    alert=_TEXT,
    expr={"type": ["string", "integer"]},
    **{"for": _DURATION},
    keep_firing_for=_DURATION,
    labels=_TEXTS,
    annotations=_TEXTS,
)
_RECORD = _closed(("expr", "record"), record=_TEXT, expr={"type": ["string", "integer"]}, labels=_TEXTS)
_RULES = {"type": "array", "items": {"if": {"required": ["record"]}, "then": _RECORD, "else": _ALERT}}
_GROUP = _closed(("name", "rules"), name=_TEXT, interval=_DURATION, rules=_RULES)
_ENDPOINT = _closed(
    ("port",),
    port=_TEXT,
    path={"type": "string"},
    scheme={"enum": ["http", "https", "HTTP", "HTTPS"]},
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    honorLabels={"type": "boolean"},
)
_SELECTOR = _closed((), matchLabels=_TEXTS)

SCHEMAS = {
    "PrometheusRule": _kind("PrometheusRule", _closed((), groups={"type": "array", "items": _GROUP})),
    "ServiceMonitor": _kind(
        "ServiceMonitor",
        _closed(("selector", "endpoints"), selector=_SELECTOR, endpoints={"type": "array", "items": _ENDPOINT}),
    ),
}
