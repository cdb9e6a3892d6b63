"""Makes dashboard.json of dashboard.yaml: `make dashboard`. The YAML says what is shown, this where and how."""

import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCE, TARGET = HERE / "dashboard.yaml", HERE / "dashboard.json"
SELECTOR = 'job=~"$job",instance=~"$instance"'
WIDTH, HEIGHT, ACROSS = 8, 7, 3  # of Grafana's grid of 24 columns
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(source: dict[str, Any]) -> dict[str, Any]:
    """Make the whole of it."""
    panels: list[dict[str, Any]] = []
    below = 0
    for row in source["rows"]:
        panels.append(_row(len(panels) + 1, row["title"], below))
        below += 1
        for index, panel in enumerate(row["panels"]):
            place = {"x": index % ACROSS * WIDTH, "y": below + index // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, place))
        below += -(-len(row["panels"]) // ACROSS) * HEIGHT
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
    """Give every panel's expression by the panel's title."""
    return {panel["title"]: expression(panel) for row in source["rows"] for panel in row["panels"]}


def expression(panel: dict[str, Any]) -> str:
    """Put the variables into a panel's expression."""
    text: str = panel["expr"].replace("{@", "{" + SELECTOR)
    return text


def _row(number: int, title: str, below: int) -> dict[str, Any]:
    place = {"x": 0, "y": below, "w": 24, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, panel: dict[str, Any], place: dict[str, int]) -> dict[str, Any]:
    kind = panel.get("kind", "timeseries")
    target = {"refId": "A", "datasource": DATASOURCE, "expr": expression(panel)}
    return {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.get("unit", "short"), "min": 0}, "overrides": []},
        "options": {"textMode": "value_and_name"} if kind == "stat" else {"legend": {"displayMode": "list"}},
        "targets": [target | {"legendFormat": panel.get("legend", "__auto")}],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _variable(name: str, given: str = "") -> dict[str, Any]:
    query = f"label_values(beacon_build_info{{{given}}}, {name})"
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
    """Read what a person edits."""
    source: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return source


def render() -> str:
    """Give the text of dashboard.json."""
    return json.dumps(dashboard(load()), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
