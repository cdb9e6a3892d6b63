"""Every alert fires exactly when it should, evaluated by Prometheus' promtool."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beacon.codec import documents

RULES = Path(__file__).parents[2] / "k8s" / "overlays" / "monitoring" / "prometheusrule.yaml"
TROUBLESHOOTING = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
MONITORING = TROUBLESHOOTING.with_name("monitoring.md")
POD = 'instance="pod"'

needs_promtool = pytest.mark.needs("prometheus")


@dataclass(frozen=True)
class Case:
    """An alert with series, one sample a minute, and the minute of its evaluation."""

    alert: str
    series: dict[str, str]
    at: int
    fires: bool
    why: str


def fires(alert: str, why: str, at: int, series: dict[str, str]) -> Case:
    return Case(alert, series, at, fires=True, why=why)


def quiet(alert: str, why: str, at: int, series: dict[str, str]) -> Case:
    return Case(alert, series, at, fires=False, why=why)


def other(series: str) -> str:
    """Return the same series of another endpoint."""
    return series.replace('endpoint="e"', 'endpoint="other"')


def answered(all_of_them: str, within_5_s: str) -> dict[str, str]:
    """Return the series of accepted deliveries."""
    name = "beacon_delivery_latency_seconds"
    return {
        f'{name}_count{{{POD},endpoint="e"}}': all_of_them,
        f'{name}_bucket{{{POD},endpoint="e",le="5.0"}}': within_5_s,
    }


def waiting(values: str) -> dict[str, str]:
    """Return the series of deliveries that have been pending for minutes."""
    return {READY: values, OLDEST: "3600x90"}


DIFFERENCES = f'beacon_gap_differences_total{{{POD},scope="configmaps",reason="expired"}}'
FIRST_LIST = f'beacon_gap_differences_total{{{POD},scope="configmaps",reason="first-list"}}'
GAP_SECONDS = f'beacon_gap_seconds_total{{{POD},scope="configmaps",reason="expired"}}'
UNREADABLE = f'beacon_objects_unreadable{{{POD},scope="configmaps"}}'
READY = f'beacon_deliveries_pending{{{POD},endpoint="e",state="ready"}}'
QUEUED = f'beacon_deliveries_pending{{{POD},endpoint="e",state="queued"}}'
DELIVERED = f'beacon_deliveries_total{{{POD},endpoint="e",type="created",outcome="delivered"}}'
FAILED = f'beacon_deliveries_total{{{POD},endpoint="e",type="created",outcome="failed"}}'
BREAKER = f'beacon_breaker_open{{{POD},endpoint="e"}}'
UP = f'beacon_endpoint_up{{{POD},endpoint="e"}}'
ERRORS = f'beacon_db_errors_total{{{POD},verb="observe",error="full"}}'
COMPONENT = f'beacon_component_up{{{POD},component="watcher"}}'
PROCESS = f'beacon_process_up{{{POD},process="store"}}'
RESTARTS = f'beacon_process_restarts_total{{{POD},process="store"}}'
CONNECTED = f'beacon_watch_connected{{{POD},scope="configmaps"}}'
POSITION = f'beacon_watch_position_timestamp_seconds{{{POD},scope="configmaps"}}'
OLDEST = f'beacon_oldest_pending_age_seconds{{{POD},endpoint="e"}}'
REVIEW = f'beacon_deliveries_failed{{{POD},endpoint="e"}}'
PAUSED = f'beacon_endpoint_state{{{POD},endpoint="e",state="paused"}}'
PARKED = f'beacon_endpoint_state{{{POD},endpoint="e",state="parked"}}'
REMOVED = f'beacon_endpoint_state{{{POD},endpoint="e",state="removed"}}'
FAULTY = f'beacon_endpoint_state{{{POD},endpoint="e",state="faulty"}}'
UNKNOWN = f'beacon_endpoint_state{{{POD},endpoint="e",state="unknown"}}'
SINCE = f'beacon_endpoint_state_timestamp_seconds{{{POD},endpoint="e"}}'
BUILD = f'beacon_build_info{{{POD},version="1"}}'

WARNING = f'beacon_storage_pressure{{{POD},resource="bytes",severity="warning"}}'
CRITICAL = f'beacon_storage_pressure{{{POD},resource="inodes",severity="critical"}}'
COMPLETE = f'beacon_reconcile_runs_total{{{POD},result="complete"}}'
INCONCLUSIVE = f'beacon_reconcile_runs_total{{{POD},result="inconclusive"}}'
DRIFT = f'beacon_drift_total{{{POD},kind="Pod",drift="missed_creation"}}'
BACKED_UP = f"beacon_backup_last_success_timestamp_seconds{{{POD}}}"
INTERVAL = f"beacon_backup_interval_seconds{{{POD}}}"
RELOADED = f"beacon_config_last_reload_successful{{{POD}}}"
REPAIRS = f'beacon_db_repairs_total{{{POD},repair="rescue"}}'

CASES = [
    fires("BeaconAbsent", "nothing is scraped", 6, {}),
    quiet("BeaconAbsent", "it is scraped", 30, {BUILD: "1x30"}),
    fires("BeaconAbsent", "its node has died", 8, {BUILD: "1x4 stale _x20"}),
    quiet("BeaconAbsent", "a pod is replaced within a minute", 14, {BUILD: "1x5 stale _ 1x20"}),
    fires("BeaconComponentDown", "one does not work", 6, {COMPONENT: "0x10"}),
    quiet("BeaconComponentDown", "it works", 30, {COMPONENT: "1x30"}),
    quiet("BeaconComponentDown", "a restart", 8, {COMPONENT: "1x3 0x3 1x20"}),
    fires("BeaconProcessDown", "one does not run", 3, {PROCESS: "0x10"}),
    quiet("BeaconProcessDown", "a restart", 6, {PROCESS: "1x4 0 1x20"}),
    fires("BeaconProcessRestarting", "a restart every two minutes", 15, {RESTARTS: "0+0.5x30"}),
    quiet("BeaconProcessRestarting", "one restart", 20, {RESTARTS: "0x10 1x20"}),
    fires("BeaconWatcherDisconnected", "no watch", 6, {CONNECTED: "0x10"}),
    quiet("BeaconWatcherDisconnected", "a watch is opened anew", 8, {CONNECTED: "1x4 0x2 1x10"}),
    fires("BeaconWatchPositionStale", "the position stands still", 9, {POSITION: "0x20"}),
    quiet("BeaconWatchPositionStale", "the position is confirmed each minute", 30, {POSITION: "0+60x30"}),
    fires("BeaconGapWithDifferences", "one more was found", 12, {DIFFERENCES: "1x8 2x10"}),
    fires("BeaconGapWithDifferences", "it is the first gap of its kind", 32, {DIFFERENCES: "_x30 1x5"}),
    quiet("BeaconGapWithDifferences", "a gap in which nothing was found", 32, {DIFFERENCES: "_x30 0x5"}),
    quiet("BeaconGapWithDifferences", "the first list", 32, {FIRST_LIST: "_x30 9x5"}),
    quiet("BeaconGapWithDifferences", "it was long ago", 70, {DIFFERENCES: "1x8 2x90"}),
    fires("BeaconLongGap", "a quarter of an hour", 20, {GAP_SECONDS: "0x10 900x20"}),
    fires("BeaconLongGap", "the first gap was a long one", 20, {GAP_SECONDS: "_x15 900x20"}),
    quiet("BeaconLongGap", "some seconds", 20, {GAP_SECONDS: "0x10 9x20"}),
    quiet("BeaconLongGap", "nothing after a long one", 80, {GAP_SECONDS: "_x15 900x90"}),
    fires("BeaconObjectsUnreadable", "one cannot be read", 12, {UNREADABLE: "1x20"}),
    quiet("BeaconObjectsUnreadable", "all can be read", 30, {UNREADABLE: "0x30"}),
    quiet("BeaconObjectsUnreadable", "one is corrected within minutes", 20, {UNREADABLE: "0x5 1x8 0x20"}),
    fires("BeaconBacklogGrowing", "a hundred more each minute", 40, {READY: "0+100x60", QUEUED: "0x60"}),
    quiet("BeaconBacklogGrowing", "a backlog that is drained", 40, {READY: "9000-100x60", QUEUED: "0x60"}),
    quiet("BeaconBacklogGrowing", "a few more each minute", 40, {READY: "0+5x60", QUEUED: "0x60"}),
    fires("BeaconDeliveryLate", "an hour old", 10, {OLDEST: "3600x20"}),
    quiet("BeaconDeliveryLate", "nothing waits", 10, {OLDEST: "0x20"}),
    fires(
        "BeaconDeliveryLate",
        "other endpoints are served",
        10,
        {OLDEST: "3600x20", other(OLDEST): "0x20"},
    ),
    quiet("BeaconDeliveryLate", "its endpoint is paused", 10, {OLDEST: "3600x20", PAUSED: "1x20", REMOVED: "0x20"}),
    quiet("BeaconDeliveryLate", "its endpoint is removed", 10, {OLDEST: "3600x20", PAUSED: "0x20", REMOVED: "1x20"}),
    quiet("BeaconDeliveryLate", "its endpoint is parked", 10, {OLDEST: "3600x20", PARKED: "1x20", REMOVED: "0x20"}),
    fires("BeaconDeliveryLate", "another is paused", 10, {OLDEST: "3600x20", other(PAUSED): "1x20", PAUSED: "0x20"}),
    fires("BeaconObjectiveBurnsFast", "a fifth is late", 70, answered("0+20x90", "0+16x90")),
    fires("BeaconObjectiveBurnsFast", "nothing is accepted", 70, answered("1200x90", "1200x90") | waiting("0+20x90")),
    fires("BeaconObjectiveBurnsFast", "a fifth fails", 70, answered("0+16x90", "0+16x90") | {FAILED: "0+4x90"}),
    fires("BeaconObjectiveBurnsFast", "a tenth is late for hours", 400, answered("0+20x400", "0+18x400")),
    fires(
        "BeaconObjectiveBurnsFast",
        "pods follow one another",
        70,
        {
            series.replace(POD, f'instance="{name}"'): f"{before} {values}"
            for name, before in (("pod1", ""), ("pod2", "_x30"))
            for series, values in answered("0+20x30 stale", "0+15x30 stale").items()
        },
    ),
    quiet("BeaconObjectiveBurnsFast", "one in two hundred is late", 70, answered("0+200x90", "0+199x90")),
    quiet("BeaconObjectiveBurnsFast", "a receiver was away for a minute", 70, answered("0+20x90", "0+20x40 780+20x50")),
    quiet("BeaconObjectiveBurnsFast", "it is over", 100, answered("0+20x120", "0+10x60 620+20x60")),
    quiet("BeaconObjectiveBurnsFast", "all of a few are late", 70, answered("0+0.5x90", "0x90")),
    quiet(
        "BeaconObjectiveBurnsFast",
        "an operator paused it",
        70,
        answered("1200x90", "1200x90") | waiting("0+20x90") | {PAUSED: "1x90"},
    ),
    fires("BeaconObjectiveBurnsSlowly", "one in fifty is late", 800, answered("0+100x800", "0+98x800")),
    quiet("BeaconObjectiveBurnsSlowly", "one in two hundred is late", 800, answered("0+200x800", "0+199x800")),
    quiet("BeaconObjectiveBurnsSlowly", "none in the last hours", 800, answered("0+50x900", "0+40x400 20000+50x500")),
    fires("BeaconFailureRatioHigh", "one in ten fails", 25, {DELIVERED: "0+9x30", FAILED: "0+1x30"}),
    quiet("BeaconFailureRatioHigh", "one in a hundred fails", 25, {DELIVERED: "0+99x30", FAILED: "0+1x30"}),
    quiet("BeaconFailureRatioHigh", "nothing is delivered", 25, {DELIVERED: "7x30", FAILED: "7x30"}),
    fires("BeaconDeliveriesWaitForReview", "one waits", 16, {REVIEW: "1x30"}),
    quiet("BeaconDeliveriesWaitForReview", "none waits", 30, {REVIEW: "0x30"}),
    quiet("BeaconDeliveriesWaitForReview", "its endpoint is removed", 30, {REVIEW: "1x30", REMOVED: "1x30"}),
    fires(
        "BeaconBacklogGrowing",
        "other endpoints are served",
        40,
        {READY: "0+100x60", QUEUED: "0x60", other(READY): "9000-100x60", other(QUEUED): "0x60"},
    ),
    fires(
        "BeaconFailureRatioHigh",
        "other endpoints accept everything",
        25,
        {DELIVERED: "0+9x30", FAILED: "0+1x30", other(DELIVERED): "0+900x30", other(FAILED): "0x30"},
    ),
    fires("BeaconEndpointDown", "the breaker is open", 6, {BREAKER: "1x10", UP: "0x10"}),
    fires("BeaconEndpointDown", "the breaker is disabled", 6, {BREAKER: "0x10", UP: "0x10"}),
    quiet("BeaconEndpointDown", "a hiccup", 9, {BREAKER: "0x4 1x3 0x10", UP: "1x4 0x3 1x10"}),
    fires("BeaconEndpointDown", "another answers", 6, {BREAKER: "1x10", other(BREAKER): "0x10", other(UP): "1x10"}),
    quiet("BeaconEndpointDown", "it is paused", 6, {BREAKER: "1x10", UP: "0x10", PAUSED: "1x10"}),
    quiet("BeaconEndpointDown", "it is parked", 6, {BREAKER: "1x10", UP: "0x10", PARKED: "1x10"}),
    fires("BeaconEndpointDown", "another is parked", 6, {BREAKER: "1x10", UP: "0x10", other(PARKED): "1x10"}),
    fires("BeaconEndpointParked", "it refuses everything", 6, {PARKED: "1x10"}),
    fires("BeaconEndpointParked", "a new token is refused, too", 9, {PARKED: "0 1 1 0 1 1 0 1x10"}),
    quiet("BeaconEndpointParked", "it was cured within minutes", 9, {PARKED: "0x2 1x3 0x10"}),
    quiet("BeaconEndpointParked", "it is not parked", 9, {PARKED: "0x20"}),
    fires("BeaconEndpointFaulty", "it fails again after each pause", 14, {FAULTY: "0x2 1 0 1 1 0 0 1 1 0 1x10"}),
    fires("BeaconEndpointFaulty", "another one is healthy", 9, {FAULTY: "1x20", other(FAULTY): "0x20"}),
    quiet("BeaconEndpointFaulty", "one error", 9, {FAULTY: "0x2 1 0x20", UNKNOWN: "1x2 0 1x20"}),
    fires("BeaconEndpointPaused", "for two hours", 125, {PAUSED: "1x130", SINCE: "0x130"}),
    quiet("BeaconEndpointPaused", "for half an hour", 32, {PAUSED: "1x40", SINCE: "0x40"}),
    quiet("BeaconEndpointPaused", "another one is paused", 125, {other(PAUSED): "0x130", SINCE: "0x130"}),
    quiet("BeaconEndpointPaused", "it has been resumed", 125, {PAUSED: "1x120 0x10", SINCE: "0x120 7260x10"}),
    fires(
        "BeaconEndpointRemoved", "events are open", 6, {REMOVED: "1x10", READY: "0x10", QUEUED: "2x10", REVIEW: "0x10"}
    ),
    fires("BeaconEndpointRemoved", "an event has failed", 6, {REMOVED: "1x10", QUEUED: "0x10", REVIEW: "1x10"}),
    quiet("BeaconEndpointRemoved", "nothing is left", 9, {REMOVED: "1x10", QUEUED: "0x10", REVIEW: "0x10"}),
    quiet("BeaconEndpointRemoved", "it is configured", 9, {REMOVED: "0x10", QUEUED: "2x10", REVIEW: "1x10"}),
    fires("BeaconDatabaseErrors", "the first one", 20, {ERRORS: "_x19 1x5"}),
    fires("BeaconDatabaseErrors", "one more", 20, {ERRORS: "3x15 4x10"}),
    quiet("BeaconDatabaseErrors", "none for long", 60, {ERRORS: "3x90"}),
    fires("BeaconStorageWarning", "it fills up", 6, {WARNING: "1x10"}),
    quiet("BeaconStorageWarning", "a moment", 9, {WARNING: "0x4 1x2 0x10"}),
    fires("BeaconStorageCritical", "no inodes are left", 2, {CRITICAL: "1x10"}),
    quiet("BeaconStorageCritical", "there is room", 10, {CRITICAL: "0x10", WARNING: "1x10"}),
    fires("BeaconReconcileFailing", "none comes to its end", 100, {COMPLETE: "3x120", INCONCLUSIVE: "0+0.07x120"}),
    quiet(
        "BeaconReconcileFailing", "now and then one does not", 100, {COMPLETE: "0+0.07x120", INCONCLUSIVE: "0x50 1x60"}
    ),
    fires("BeaconFrequentDrift", "one each five minutes", 70, {DRIFT: "0+0.2x90"}),
    quiet("BeaconFrequentDrift", "one", 70, {DRIFT: "0x60 1x20"}),
    fires("BeaconBackupLate", "none was ever made", 32, {BACKED_UP: "0x60", INTERVAL: "3600x60"}),
    fires("BeaconBackupLate", "it is not known", 32, {INTERVAL: "3600x60"}),
    fires("BeaconBackupLate", "the newest is old", 160, {BACKED_UP: "60x200", INTERVAL: "3600x200"}),
    quiet("BeaconBackupLate", "one each interval", 180, {BACKED_UP: "60x60 3660x60 7260x90", INTERVAL: "3600x240"}),
    quiet("BeaconBackupLate", "a restart", 100, {BACKED_UP: "60x50 0x1 60x70", INTERVAL: "3600x130"}),
    quiet("BeaconBackupLate", "they are off", 200, {RELOADED: "1x200"}),
    fires("BeaconConfigReloadFailed", "the file is not valid", 6, {RELOADED: "0x10"}),
    quiet("BeaconConfigReloadFailed", "it is corrected within minutes", 9, {RELOADED: "1x2 0x3 1x10"}),
    fires("BeaconLedgerDamaged", "the first time", 20, {REPAIRS: "_x15 1x20"}),
    quiet("BeaconLedgerDamaged", "long ago", 90, {REPAIRS: "1x120"}),
]


def rules() -> list[dict[str, Any]]:
    groups = documents.load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.why.replace(' ', '_')}")
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    expected = [{"labels": "{}", "value": 1}] if case.fires else []
    firing = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{case.at}m", "exp_samples": expected}],
    }
    run_promtool(test, tmp_path)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    wanted = {(rule["alert"], fires) for rule in rules() for fires in (True, False)}

    assert {(case.alert, case.fires) for case in CASES} == wanted


def test_every_alert_is_documented_with_symptom_check_cause_and_remedy() -> None:
    _, *sections = TROUBLESHOOTING.read_text(encoding="utf-8").split("\n## ")
    texts = {text.partition("\n")[0]: text for text in sections}

    for rule in rules():
        text = texts[rule["alert"]].lower()
        assert "**symptom:**" in text
        assert "**look" in text
        assert "cause" in text
        assert "cure" in text
        look = text.partition("**look")[2].partition("**ca")[0]
        assert "`" in look or "as above" in look or "as above" in text, rule["alert"]


def test_every_alert_is_listed_on_the_monitoring_page() -> None:
    listed = re.findall(r"\[(Beacon\w+)\]\(troubleshooting\.md#(\w+)\)", MONITORING.read_text(encoding="utf-8"))

    assert sorted(listed) == sorted((rule["alert"], rule["alert"].lower()) for rule in rules())


def test_every_alert_leads_to_a_section_of_the_troubleshooting_page() -> None:
    sections = {
        line.removeprefix("## ").strip().lower()
        for line in TROUBLESHOOTING.read_text(encoding="utf-8").splitlines()
        if line.startswith("## ")
    }

    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/troubleshooting.md"  # a path within this project, not a URL of a particular host
        assert anchor == rule["alert"].lower()
        assert anchor in sections


def labels_of(alert: str) -> set[str]:
    """Return the labels of the series that make an alert fire, as far as its expression keeps them."""
    (expression,) = (rule["expr"] for rule in rules() if rule["alert"] == alert)
    if expression.startswith("absent("):
        return set()
    expression = re.split(r" (?:and|unless) on ", expression)[0]  # the right side only selects
    found_in = [name for case in CASES if case.alert == alert and case.fires for name in case.series]
    series = [name for name in found_in if re.search(rf"\b{name.partition('{')[0]}\b", expression)]
    found = {label for name in series for label in re.findall(r"[{,](\w+)=", name)}
    kept = re.findall(r"sum by \(([\w, ]+)\)", expression)
    return found & set(kept[0].split(", ")) if kept else found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_the_text_of_an_alert_names_what_it_is_about(rule: dict[str, Any]) -> None:
    labels, texts = labels_of(rule["alert"]), rule["annotations"]
    whole = f"{texts['summary']} {texts['description']}"
    named = set(re.findall(r"\$labels\.(\w+)", whole))

    assert named <= labels
    for subject in ("endpoint", "scope"):
        if subject in labels:
            assert f"{{{{ $labels.{subject} }}}}" in texts["summary"]
            assert f"{{{{ $labels.{subject} }}}}" in texts["description"]
    if labels:  # an absent metric has none
        assert named & {"endpoint", "scope", "instance"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_the_text_of_an_alert_has_whole_numbers_and_durations(rule: dict[str, Any]) -> None:
    used = re.findall(r"\{\{ \$value.*?\}\}", " ".join(rule["annotations"].values()))

    assert set(used) <= {'{{ $value | printf "%.0f" }}', "{{ $value | humanizeDuration }}"}
    if ">" in rule["expr"] and "beacon_reconcile_runs_total" not in rule["expr"]:
        assert used or rule["alert"] in {"BeaconDatabaseErrors", "BeaconLedgerDamaged"}


TEXTS = {
    "BeaconProcessRestarting": "The process store of pod was restarted 8 times in 15 minutes.",
    "BeaconFailureRatioHigh": "Within 15 minutes, 10% of the deliveries to endpoint e failed.",
    "BeaconDeliveryLate": "The oldest event not yet delivered to endpoint e is 1h 0m 0s old.",
    "BeaconEndpointParked": (
        "Endpoint e has been parked for 5 minutes: it refuses every event, so that Beacon keeps them and sends only"
        " probes. `beacon status` names the cause and the cure. When the cause is gone, a new token, a new URL or"
        " `beacon resume --endpoint e` ends it at once, and a probe that is accepted by itself. If only events that"
        " were refused before are open, it stays parked until it accepts a new one."
    ),
    "BeaconEndpointPaused": (
        "An operator paused endpoint e 2h 5m 0s ago. Events are kept, and nothing is sent until it is resumed."
    ),
    "BeaconEndpointRemoved": (
        "Endpoint e is not in the configuration any more; 2 of its deliveries are open or failed, and are not sent."
    ),
    "BeaconBackupLate": "No backup of the ledger of pod is younger than 1h 0m 0s. `beacon status` names the reason.",
    "BeaconWatchPositionStale": "The position of configmaps was last confirmed 9m 0s ago.",
}


@needs_promtool
@pytest.mark.parametrize("alert", TEXTS)
def test_the_text_of_an_alert_is_rendered_without_fractions(alert: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.alert == alert and case.fires)
    (rule,) = (rule for rule in rules() if rule["alert"] == alert)
    labels = dict.fromkeys(labels_of(alert), "")
    series = {label: value for name in case.series for label, value in re.findall(r'(\w+)="(\w+)"', name)}
    expected = {
        "exp_labels": rule["labels"] | {name: series[name] for name in labels},
        "exp_annotations": {
            "summary": render(rule["annotations"]["summary"], series),
            "description": TEXTS[alert],
            "runbook_url": rule["annotations"]["runbook_url"],
        },
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": f"{case.at}m", "alertname": alert, "exp_alerts": [expected]}],
    }
    run_promtool(test, tmp_path)


def render(template: str, labels: dict[str, str]) -> str:
    """Return a text in which only labels are to be replaced."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], template)


def run_promtool(test: dict[str, Any], directory: Path) -> None:
    """Run one test of the rules."""
    spec = documents.load(RULES.read_text(encoding="utf-8"))["spec"]
    (directory / "rules.yaml").write_text(documents.dump(spec), encoding="utf-8")
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (directory / "test.yaml").write_text(documents.dump(whole), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yaml"], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
