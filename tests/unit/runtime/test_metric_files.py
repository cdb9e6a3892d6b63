"""Metric files by role: counters survive `kill -9`, states don't, and a damaged file affects no other."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import multiprocess

from beacon.runtime import metric_files, metrics
from tests.unit import scripts

COUNT = """
import sys
from pathlib import Path
from beacon.runtime import metrics
metrics.start(sys.argv[2], Path(sys.argv[1]))
metrics.EVENTS.labels(kind="Pod", type="created", source="watch").inc()
metrics.DB_COMMIT_SECONDS.observe(0.002)
metrics.WATCH_CONNECTED.labels(scope="pods").set(1)
metrics.LAST_EVENT_TIMESTAMP.labels(kind="Pod").set(123.0)
"""
DIE = "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"


def samples(directory: Path, *living: str) -> dict[str, float]:
    paths = [str(path) for path in metric_files.files(directory, living)]
    found = multiprocess.MultiProcessCollector.merge(paths)  # type: ignore[no-untyped-call]
    return {
        sample.name + "".join(f"{{{value}}}" for _, value in sorted(sample.labels.items())): sample.value
        for family in found
        for sample in family.samples
    }


def test_a_counter_survives_kill_nine_and_continues(tmp_path: Path) -> None:
    for _ in range(3):
        assert scripts.run(COUNT + DIE, str(tmp_path), "watcher").returncode == -9

    assert samples(tmp_path)["beacon_events_total{Pod}{watch}{created}"] == 3
    assert samples(tmp_path)["beacon_db_commit_seconds_count"] == 3
    assert samples(tmp_path)["beacon_process_restarts_total{watcher}"] == 2


def test_files_are_named_by_role_so_that_restarts_add_none(tmp_path: Path) -> None:
    for _ in range(3):
        scripts.run(COUNT, str(tmp_path), "watcher")

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "counter_watcher.db",
        "gauge_livemostrecent_watcher.db",
        "gauge_mostrecent_watcher.db",
        "histogram_watcher.db",
    ]


def test_roles_are_added_up(tmp_path: Path) -> None:
    scripts.run(COUNT, str(tmp_path), "watcher")
    scripts.run(COUNT, str(tmp_path), "store")

    assert samples(tmp_path)["beacon_events_total{Pod}{watch}{created}"] == 2


def test_the_state_gauges_of_a_dead_role_are_not_shown_and_its_instants_are(tmp_path: Path) -> None:
    scripts.run(COUNT + DIE, str(tmp_path), "watcher")

    assert samples(tmp_path, "watcher")["beacon_watch_connected{pods}"] == 1
    assert "beacon_watch_connected{pods}" not in samples(tmp_path, "store")
    assert samples(tmp_path, "store")["beacon_last_event_timestamp_seconds{Pod}"] == 123


def test_a_restarted_process_does_not_inherit_the_state_gauges_of_the_previous_one(tmp_path: Path) -> None:
    scripts.run(COUNT + DIE, str(tmp_path), "watcher")
    scripts.run(
        """
        import sys
        from pathlib import Path
        from beacon.runtime import metrics
        metrics.start("watcher", Path(sys.argv[1]))
        """,
        str(tmp_path),
    )

    assert "beacon_watch_connected{pods}" not in samples(tmp_path, "watcher")
    assert samples(tmp_path, "watcher")["beacon_last_event_timestamp_seconds{Pod}"] == 123


def test_unlabelled_metrics_appear_only_where_they_move(tmp_path: Path) -> None:
    scripts.run("import sys; from pathlib import Path; from beacon.runtime import metrics\n"
                "metrics.start('watcher', Path(sys.argv[1]))", str(tmp_path))  # fmt: skip

    from_the_start = {"beacon_process_restarts_total{watcher}", "beacon_log_lines_dropped_total{watcher}"}
    assert set(samples(tmp_path, "watcher")) == from_the_start


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        b"garbage" * 100,
        b"\xff" * 100,
        struct.pack("ii", 1 << 30, 0),
        struct.pack("iii", 64, 0, -8) + b"\0" * 100,
        struct.pack("iii", 64, 0, 4) + b"\0" * 100,
        struct.pack("iii", 48, 0, 16) + b"not json at all!" + b"    " + b"\0" * 16,
        struct.pack("iii", 48, 0, 16) + b'["a","b","c",""]' + b"    " + b"\0" * 16,
    ],
)
def test_a_damaged_file_is_recognised_and_a_process_starts_in_spite_of_it(tmp_path: Path, content: bytes) -> None:
    damaged = tmp_path / "counter_watcher.db"
    damaged.write_bytes(content)
    assert not metric_files.sound(damaged)

    done = scripts.run(COUNT, str(tmp_path), "watcher")

    assert (done.returncode, done.stderr) == (0, b"")
    assert samples(tmp_path)["beacon_events_total{Pod}{watch}{created}"] == 1
    assert (tmp_path / "counter_watcher.damaged").exists()


def test_the_empty_file_of_a_process_killed_while_making_it_is_damaged_for_readers_and_fine_for_its_owner(
    tmp_path: Path,
) -> None:
    empty = tmp_path / "counter_watcher.db"
    empty.touch()
    assert not metric_files.sound(empty)

    scripts.run(COUNT, str(tmp_path), "watcher")

    assert metric_files.sound(empty)
    assert samples(tmp_path)["beacon_events_total{Pod}{watch}{created}"] == 1


def test_a_sound_file_of_many_series_is_sound_at_every_moment_of_its_growth(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from beacon.runtime import metrics
    metrics.start("watcher", Path(sys.argv[1]))
    for n in range(8000):
        metrics.GAPS.labels(scope=f"scope{n}", reason="expired").inc()
    """
    with subprocess.Popen(
        [sys.executable, "-c", "\n".join(line[4:] for line in code.splitlines()), str(tmp_path)]
    ) as p:
        looks = 0
        while p.poll() is None:
            for path in tmp_path.glob("*.db"):
                if path.stat().st_size:
                    assert metric_files.sound(path)
                    looks += 1

    assert looks > 10
    assert len(samples(tmp_path)) > 8000


def test_a_histogram_has_all_its_buckets_from_its_first_observation_on(tmp_path: Path) -> None:
    scripts.run(COUNT, str(tmp_path), "store")

    buckets = {
        name: value for name, value in samples(tmp_path).items() if name.startswith("beacon_db_commit_seconds_b")
    }

    assert len(buckets) == len(metrics._LOCAL) + 1
    assert buckets["beacon_db_commit_seconds_bucket{0.001}"] == 0
    assert buckets["beacon_db_commit_seconds_bucket{+Inf}"] == 1


def test_without_a_directory_values_stay_in_memory() -> None:
    child = metrics.GAP_SECONDS.labels(scope="unit-test", reason="expired")

    child.inc(2.5)
    metrics.DELIVERY_BACKOFF.labels(endpoint="unit-test").observe(1.5)

    assert metrics.REGISTRY.get_sample_value(
        "beacon_gap_seconds_total", {"scope": "unit-test", "reason": "expired"}
    ) == pytest.approx(2.5)
    count = metrics.REGISTRY.get_sample_value("beacon_delivery_backoff_seconds_count", {"endpoint": "unit-test"})
    assert count is not None
    assert count >= 1
