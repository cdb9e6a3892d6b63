"""Events as Beacon sends them, written down from the contract and not by Beacon's own code."""

import copy
import json
from typing import Any

_FORM = {
    "specversion": "1.0",
    "source": "/beacon/shop/ConfigMap",
    "type": "net.bakerapps.beacon.resource.created",
    "time": "2026-01-02T03:04:05.678901Z",
    "datacontenttype": "application/json",
    "ledgerid": "ledger-1",
    "data": {
        "resource": {
            "uid": "0b1c",
            "apiVersion": "v1",
            "type": "ConfigMap",
            "name": "",
            "namespace": "shop",
            "annotationValue": "gold",
        },
        "metadata": {"annotations": {}, "labels": {"app": "shop"}, "resourceVersion": "12"},
        "detection": {
            "source": "watch",
            "cause": "annotation-added",
            "detectedAt": "2026-01-02T03:04:05.678901Z",
            "notBefore": "",
            "notAfter": "",
        },
    },
}


def document(name: str, sequence: int, *, previous: int = 0, **changed: Any) -> dict[str, Any]:
    """Return an event of a ConfigMap; its id follows from its sequence."""
    made: dict[str, Any] = copy.deepcopy(_FORM) | {
        "id": f"id-{sequence}",
        "subject": name,
        "partitionkey": f"/ConfigMap/shop/{name}",
        "sequence": f"{sequence:020}",
        "previous": f"{previous:020}",
    }
    made["data"]["resource"]["name"] = name
    return made | changed


def body(name: str, sequence: int, *, previous: int = 0, **changed: Any) -> bytes:
    """Return the same event as bytes."""
    return json.dumps(document(name, sequence, previous=previous, **changed)).encode()
