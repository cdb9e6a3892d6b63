"""Generates dashboard.json from dashboard.yaml: `make dashboard`.

The YAML holds titles, descriptions and queries; this module holds layout and everything that Grafana's format requires.
"""

import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCE, TARGET = HERE / "dashboard.yaml", HERE / "dashboard.json"
SELECTOR = 'job=~"$job",instance=~"$instance"'
ENDPOINT_SELECTOR = f'{SELECTOR},endpoint=~"$endpoint"'
WIDTH, HEIGHT, ACROSS = 8, 7, 3  # in units of Grafana's grid, which has 24 columns
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# The names of 0 and 1, each with its color.
VALUES = {
    "up": (("down", "red"), ("up", "green")),
    "open": (("closed", "green"), ("open", "red")),
    "pressure": (("ok", "green"), ("above", "red")),
}
COLORS = {"warning": "orange", "critical": "red"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(source: dict[str, Any]) -> dict[str, Any]:
    """Return the dashboard in Grafana's format."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in source["rows"]:
        panels.append(_row(len(panels) + 1, row["title"], top))
        top += 1
        for index, panel in enumerate(row["panels"]):
            position = {"x": index % ACROSS * WIDTH, "y": top + index // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, position))
        top += -(-len(row["panels"]) // ACROSS) * HEIGHT
    return {
        "title": source["title"],
        "description": source["description"],
        "uid": "beacon",
        "tags": ["beacon"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }


def expressions(source: dict[str, Any]) -> dict[str, str]:
    """Return all queries by the title of their panel, with the quantile if the panel has several."""
    return {
        f"{panel['title']} {quantile}".rstrip(): query
        for row in source["rows"]
        for panel in row["panels"]
        for quantile, query in queries(panel).items()
    }


def queries(panel: dict[str, Any]) -> dict[str, str]:
    """Return a panel's queries with the selectors of the variables, by quantile; "" if it has none."""
    text: str = panel["expr"].replace("{@endpoint", "{" + ENDPOINT_SELECTOR).replace("{@", "{" + SELECTOR)
    if "@q" not in text:
        return {"": text}
    return {name: text.replace("@q", str(quantile)) for name, quantile in QUANTILES.items()}


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    position = {"x": 0, "y": top, "w": 24, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position, "panels": []}


def _panel(number: int, panel: dict[str, Any], position: dict[str, int]) -> dict[str, Any]:
    kind = panel.get("kind", "timeseries")
    defaults = {
        "unit": panel.get("unit", "none"),
        "min": 0,
        "mappings": _mappings(panel),
        "thresholds": _thresholds(panel),
    }
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel["description"],
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults | _style(panel, kind), "overrides": []},
        "options": _options(panel, kind),
        "targets": [
            {"refId": reference, "datasource": DATASOURCE, "expr": query, "legendFormat": _legend(panel, quantile)}
            for reference, (quantile, query) in zip("ABC", queries(panel).items(), strict=False)
        ],
    }


def _legend(panel: dict[str, Any], quantile: str) -> str:
    return f"{panel.get('legend', '')} {quantile}".strip() or "__auto"


def _mappings(panel: dict[str, Any]) -> list[dict[str, Any]]:
    if "values" not in panel:
        return []
    named = enumerate(VALUES[panel["values"]])
    options = {str(value): {"text": text, "color": color, "index": value} for value, (text, color) in named}
    return [{"type": "value", "options": options}]


def _thresholds(panel: dict[str, Any]) -> dict[str, Any]:
    """Return the colors by value: the first one holds below the first threshold."""
    if "values" in panel:
        (_, low), (_, high) = VALUES[panel["values"]]
        return {"mode": "absolute", "steps": [{"color": low, "value": None}, {"color": high, "value": 1}]}
    limits = {} if panel["thresholds"] == "none" else panel["thresholds"]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    return {
        "mode": "absolute",
        "steps": steps + [{"color": COLORS[name], "value": value} for name, value in limits.items()],
    }


def _style(panel: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"color": {"mode": "thresholds"}}
    line = "off" if panel["thresholds"] == "none" else "dashed"
    return {"color": {"mode": "palette-classic"}, "custom": {"thresholdsStyle": {"mode": line}}}


def _options(panel: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {
            "textMode": panel.get("text", "value_and_name"),
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _variables() -> list[dict[str, Any]]:
    return [
        _datasource(),
        _variable("job"),
        _variable("instance", 'job=~"$job"'),
        _variable("endpoint", SELECTOR, of="beacon_endpoint_state"),
    ]


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _variable(name: str, matchers: str = "", *, of: str = "beacon_build_info") -> dict[str, Any]:
    query = f"label_values({of}{{{matchers}}}, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def load() -> dict[str, Any]:
    """Read dashboard.yaml."""
    source: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return source


def render() -> str:
    """Return the content of dashboard.json."""
    return json.dumps(dashboard(load()), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
