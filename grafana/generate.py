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
WIDTH, HEIGHT, ACROSS = 8, 7, 3  # in units of Grafana's grid, which has 24 columns
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
        "templating": {"list": [_datasource(), _variable("job"), _variable("instance", 'job=~"$job"')]},
        "panels": panels,
    }


def expressions(source: dict[str, Any]) -> dict[str, str]:
    """Return the query of each panel by the panel's title."""
    return {panel["title"]: expression(panel) for row in source["rows"] for panel in row["panels"]}


def expression(panel: dict[str, Any]) -> str:
    """Return a panel's query with the selectors of the variables."""
    text: str = panel["expr"].replace("{@", "{" + SELECTOR)
    return text


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    position = {"x": 0, "y": top, "w": 24, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position, "panels": []}


def _panel(number: int, panel: dict[str, Any], position: dict[str, int]) -> dict[str, Any]:
    kind = panel.get("kind", "timeseries")
    target = {"refId": "A", "datasource": DATASOURCE, "expr": expression(panel)}
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "description": panel["description"],
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": panel.get("unit", "short"), "min": 0}, "overrides": []},
        "options": {"textMode": "value_and_name"} if kind == "stat" else {"legend": {"displayMode": "list"}},
        "targets": [target | {"legendFormat": panel.get("legend", "__auto")}],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _variable(name: str, matchers: str = "") -> dict[str, Any]:
    query = f"label_values(beacon_build_info{{{matchers}}}, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
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
