"""A damaged metric file costs its own series, never the scrape."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from beacon.exporter import gauges, health, scrape
from beacon.runtime import metric_files, metrics
from tests.unit import scripts
from tests.unit.exporter import views

COUNT = """
import sys
from pathlib import Path
from beacon.runtime import metrics
metrics.start(sys.argv[2], Path(sys.argv[1]))
for n in range(40):
    metrics.EVENTS.labels(kind=f"Kind{n}", type="created", source="watch").inc()
    metrics.DELIVERY_LATENCY.labels(endpoint=f"e{n % 4}").observe(0.1)
    metrics.WATCH_CONNECTED.labels(scope=f"s{n}").set(1)
"""


def names(directory: Path) -> set[str]:
    collected = scrape.collect(directory, ["watcher", "store"])
    return {sample.name for family in collected for sample in family.samples}


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\0\0\0\x7f" * 3], ids=["empty", "ones", "huge"])
def test_a_damaged_file_is_set_aside_and_counted_and_the_others_are_shown(tmp_path: Path, content: bytes) -> None:
    scripts.run(COUNT, str(tmp_path), "watcher")
    (tmp_path / "histogram_store.db").write_bytes(content)
    before = metrics.METRIC_FILES_DAMAGED._value.get()

    shown = names(tmp_path)

    assert "beacon_events_total" in shown
    assert metrics.METRIC_FILES_DAMAGED._value.get() == before + 1
    assert not (tmp_path / "histogram_store.db").exists()
    assert (tmp_path / "histogram_store.damaged").read_bytes() == content


def test_a_file_that_is_being_created_is_read_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_GRACE_S", 3.0)
    scripts.run(COUNT, str(tmp_path), "watcher")
    whole = (tmp_path / "counter_watcher.db").read_bytes()
    young = tmp_path / "counter_store.db"
    young.touch()
    late = threading.Timer(0.02, lambda: young.write_bytes(whole))
    late.start()

    shown = names(tmp_path)

    late.join()
    assert "beacon_events_total" in shown
    assert not (tmp_path / "counter_store.damaged").exists()


def test_a_file_that_vanishes_between_two_reads_is_no_error(tmp_path: Path) -> None:
    assert metric_files.sound(tmp_path / "counter_gone.db")
    assert names(tmp_path) == set()


def test_a_file_that_vanishes_between_the_check_and_the_reading_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("watcher", "store"):
        scripts.run(COUNT, str(tmp_path), role)
    merge = scrape.merge

    def merge_late(paths: Iterable[Path]) -> list[gauges.Family]:
        (tmp_path / "counter_store.db").unlink(missing_ok=True)
        return merge(paths)

    monkeypatch.setattr(scrape, "merge", merge_late)

    assert "beacon_events_total" in names(tmp_path)


@pytest.mark.parametrize("escaping", ["allow-utf-8", "underscores", "dots", "values"])
@pytest.mark.parametrize("media", ["text/plain", "application/openmetrics-text"])
def test_names_and_labels_are_the_same_in_every_format(tmp_path: Path, media: str, escaping: str) -> None:
    scripts.run(COUNT, str(tmp_path), "watcher")
    asked = gauges.family("gauge", "db_rows", "Rows.", [({"table": 'a "b" \\ \n'}, 1e-7)])
    families = [*scrape.collect(tmp_path, ["watcher"]), asked]

    body, _ = scrape.render(families, f"{media};version=1.0.0;escaping={escaping}")

    lines = body.decode().splitlines()
    assert 'beacon_events_total{kind="Kind7",source="watch",type="created"} 1.0' in lines
    assert 'beacon_watch_connected{scope="s7"} 1.0' in lines
    assert 'beacon_delivery_latency_seconds_bucket{endpoint="e1",le="+Inf"} 10.0' in lines
    assert 'beacon_db_rows{table="a \\"b\\" \\\\ \\n"} 1e-07' in lines


def test_the_states_of_a_role_that_does_not_live_are_not_shown(tmp_path: Path) -> None:
    scripts.run(COUNT, str(tmp_path), "watcher")

    shown = {sample.name for family in scrape.collect(tmp_path, ["store"]) for sample in family.samples}

    assert "beacon_events_total" in shown
    assert "beacon_watch_connected" not in shown


@pytest.mark.slow
def test_a_scrape_of_four_busy_roles_takes_little_processor_time(tmp_path: Path) -> None:
    for role in ("store", "watcher", "notifier", "exporter"):
        scripts.run(COUNT, str(tmp_path), role)
    seen = views.well()
    checks = health.readiness(seen, scopes=1)
    took: list[float] = []

    for _ in range(20):
        started = time.thread_time()
        scrape.scrape(tmp_path, seen, checks, accept="")
        took.append(time.thread_time() - started)

    assert min(took) < 0.200  # ten times what a quick machine needs


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("", "text/plain; version=0.0.4", b"\n"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text", b"# EOF\n"),
        ("application/openmetrics-text; version=nonsense", "text/plain; version=0.0.4", b"\n"),
    ],
)
def test_the_format_is_the_requested_one(accept: str, content_type: str, end: bytes) -> None:
    family = gauges.family("counter", "things", "Things.", [({"kind": "a"}, 2.0)])

    body, said = scrape.render([family], accept)

    assert said.startswith(content_type)
    assert b'beacon_things_total{kind="a"} 2.0' in body
    assert body.endswith(end)


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=7.0.0",
        "application/openmetrics-text;version=1.0.0.0",
        "application/openmetrics-text;version= 1.0.0\xa0;escaping=dots",
        "application/openmetrics-text;version=1_0.0.0",
        "application/openmetrics-text;version=" + "9" * 4000,
        "application/openmetrics-text;version=" + "9" * 5000,
        "application/openmetrics-text;version=1.-1",
        "application/openmetrics-text;version=\xb2",
        "application/openmetrics-text;version",
        "application/openmetrics-text;version=1" + ".0" * 30_000,
        "text/plain;version=1.0.0;escaping=\0",
        "text/plain;version=x," * 3000,
        ";=;,;=" * 10_000,
        "text/plain" + " " * 60_000,
    ],
    ids=lambda accept: accept[:50],
)
def test_an_accept_header_chooses_one_of_a_few_formats_whatever_it_holds(accept: str) -> None:
    chosen = scrape.content_type(accept)

    assert chosen in scrape._formats()
    assert scrape.content_type(chosen) == chosen
