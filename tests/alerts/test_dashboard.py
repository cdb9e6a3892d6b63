"""Every panel of the dashboard explains itself: description, unit, thresholds, names of states, and three quantiles."""

import json
import re
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from beacon.configuration import settings
from beacon.exporter import gauges, health
from beacon.runtime import metrics
from grafana import generate
from tests.alerts import test_alerts
from tests.unit.exporter import views

SOURCE = {panel["title"]: panel for row in generate.load()["rows"] for panel in row["panels"]}
PANELS = [panel for panel in json.loads(generate.TARGET.read_text())["panels"] if panel["type"] != "row"]
BY_TITLE = {panel["title"]: panel for panel in PANELS}
STATES = ("beacon_component_up", "beacon_process_up", "beacon_watch_connected", "beacon_endpoint_up")
FLAGS = (*STATES, "beacon_breaker_open", "beacon_storage_pressure")
UNITS = {"s": "_seconds", "bytes": "_bytes"}
each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def queries(panel: dict[str, Any]) -> str:
    return " ".join(target["expr"] for target in panel["targets"])


def limits(panel: dict[str, Any]) -> list[float]:
    first, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert first["value"] is None
    return [step["value"] for step in steps]


def metrics_of_endpoints() -> set[str]:
    """Return the names of all metrics with the label `endpoint`, as they are in queries."""
    seen = views.well(reports=(views.report("notifier", "endpoint", "up", endpoint="default"),))
    gauges_ = {
        family.name for family in gauges.families(seen, health.readiness(seen, scopes=1)) if _has_endpoint(family)
    }
    return gauges_ | {
        sample
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase) and "endpoint" in metric._labelnames
        for family in metric.describe()
        for sample in (family.name, *(f"{family.name}_{part}" for part in ("total", "bucket", "sum", "count")))
    }


def _has_endpoint(family: gauges.Family) -> bool:
    return any("endpoint" in sample.labels for sample in family.samples)


@each_panel
def test_a_panel_of_deliveries_is_filtered_by_endpoint_and_shows_each_one_by_itself(panel: dict[str, Any]) -> None:
    labelled = metrics_of_endpoints()

    for target in panel["targets"]:
        for metric, selectors in re.findall(r"(beacon_\w+)\{([^}]*)\}", target["expr"]):
            assert ('endpoint=~"$endpoint"' in selectors) == (metric in labelled), metric
            if metric in labelled:
                assert re.search(r"by \((\w+, )*endpoint(, \w+)*\)", target["expr"]), target["expr"]
                assert "{{endpoint}}" in target["legendFormat"]


def test_the_variable_endpoint_lists_the_endpoints_of_the_chosen_instances_several_or_all() -> None:
    variables = {each["name"]: each for each in json.loads(generate.TARGET.read_text())["templating"]["list"]}
    endpoint = variables["endpoint"]

    assert endpoint["query"]["query"] == (
        'label_values(beacon_endpoint_state{job=~"$job",instance=~"$instance"}, endpoint)'
    )
    assert (endpoint["multi"], endpoint["includeAll"], endpoint["allValue"]) == (True, True, ".*")


def test_the_dashboard_is_the_generated_one() -> None:
    assert generate.TARGET.read_text(encoding="utf-8") == generate.render()


@each_panel
def test_a_panel_has_a_description_of_its_own(panel: dict[str, Any]) -> None:
    assert re.fullmatch(r"[A-Z].{15,}\.", panel["description"])
    assert [other["title"] for other in PANELS if other["description"] == panel["description"]] == [panel["title"]]


@each_panel
def test_a_panel_has_the_unit_of_its_metric(panel: dict[str, Any]) -> None:
    source, unit = SOURCE[panel["title"]], panel["fieldConfig"]["defaults"]["unit"]

    assert ("unit" in source) != ("values" in source or source.get("text") == "name")
    if "rate(" in queries(panel) and "_bucket" not in queries(panel) and "/" not in queries(panel):
        assert unit in ("ops", "percentunit")
    elif unit in UNITS:
        assert UNITS[unit] in queries(panel)


@each_panel
def test_a_panel_of_states_shows_their_names_and_colors(panel: dict[str, Any]) -> None:
    shown = [name for name in FLAGS if f"{name}{{" in queries(panel)]
    defaults = panel["fieldConfig"]["defaults"]

    if not shown:
        assert defaults["mappings"] == []
        return
    ((mapping,), (metric,)) = defaults["mappings"], shown
    names = {value: option["text"] for value, option in mapping["options"].items()}
    good = mapping["options"]["1" if metric in STATES else "0"]
    bad = mapping["options"]["0" if metric in STATES else "1"]
    assert panel["type"] == "stat"
    assert len(set(names.values())) == 2
    assert names == {"0": "down", "1": "up"} or metric not in STATES
    assert (good["color"], bad["color"]) == ("green", "red")
    assert [step["color"] for step in defaults["thresholds"]["steps"]] == [
        mapping["options"][value]["color"] for value in "01"
    ]


@each_panel
def test_a_panel_shows_its_thresholds_or_states_that_every_value_may_be_normal(panel: dict[str, Any]) -> None:
    source = SOURCE[panel["title"]]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]

    if "values" in source:
        return  # its colors are tested with its names
    expected = {"warning": "orange", "critical": "red"}
    stated = {} if source["thresholds"] == "none" else source["thresholds"]
    assert [(step["color"], step["value"]) for step in steps[1:]] == [(expected[k], v) for k, v in stated.items()]
    assert limits(panel) == sorted(limits(panel))
    if panel["type"] == "timeseries":
        mode = panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"]
        assert mode == ("dashed" if stated else "off")


def test_the_limit_of_an_alert_on_one_metric_is_a_threshold_of_the_panels_that_show_it() -> None:
    single = re.compile(r"^(?:time\(\) - )?(beacon_\w+)(?:\{[^}]*\})? (==|>) (\d+)(?: unless .*)?$")
    found = [(match, rule["alert"]) for rule in test_alerts.rules() if (match := single.match(rule["expr"]))]

    assert len(found) >= 7
    for match, alert in found:
        metric, comparison, limit = match.groups()
        shown = [panel for panel in PANELS if f"{metric}{{" in queries(panel)]
        assert shown, alert
        for panel in shown:
            whole = metric == "beacon_deliveries_failed"
            expected = 1.0 if comparison == "==" else float(limit) + whole
            assert expected in limits(panel), (alert, panel["title"])


def test_the_thresholds_of_the_volume_are_the_defaults_of_the_configuration() -> None:
    storage = settings.Storage()
    expected = [storage.warning_threshold / 100, storage.critical_threshold / 100]

    assert limits(BY_TITLE["Volume usage"]) == limits(BY_TITLE["Inode usage"]) == expected


def test_every_distribution_of_durations_is_shown_by_its_median_and_its_95th_and_99th_percentile() -> None:
    names = {family.name for family in metrics.REGISTRY.collect() if family.type == "histogram"}
    durations = {name for name in names if name.endswith("_seconds")}
    shown = {
        name
        for panel in PANELS
        for name in durations
        if f"{name}_bucket" in queries(panel)
        and [re.findall(r"quantile\(([\d.]+)", target["expr"]) for target in panel["targets"]]
        == [["0.5"], ["0.95"], ["0.99"]]
        and [target["legendFormat"].rpartition(" ")[2] for target in panel["targets"]] == ["p50", "p95", "p99"]
    }

    # The panel of this one shows the share of time by verb; beacon_bus_request_seconds has its distribution.
    assert durations - shown == {"beacon_db_operation_seconds"}
    assert not any("quantile" in query and "_bucket" not in query for query in map(queries, PANELS))
