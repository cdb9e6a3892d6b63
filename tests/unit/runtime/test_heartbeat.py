"""Heartbeats: cheap to write, with an age measured by a clock that does not jump."""

import os
import time
from pathlib import Path

from beacon.runtime import heartbeat
from tests.unit import scripts


def test_a_heartbeat_is_read_back_with_its_process_thread_pid_and_age(tmp_path: Path) -> None:
    made = heartbeat.Heartbeat(tmp_path, "store", "main.loop")

    (beat,) = heartbeat.read(tmp_path)

    assert (beat.process, beat.thread, beat.pid) == ("store", "main.loop", os.getpid())
    assert 0 <= beat.age_s < 60
    made.close()


def test_a_closed_heartbeat_is_removed(tmp_path: Path) -> None:
    made = heartbeat.Heartbeat(tmp_path, "store", "main")

    made.close()
    made.close()
    made.beat()

    assert heartbeat.read(tmp_path) == ()


def test_the_age_of_a_heartbeat_that_stopped_grows(tmp_path: Path) -> None:
    pid, then_ns = os.getpid(), time.monotonic_ns() - 90 * 10**9
    (tmp_path / "watcher.main").write_text(f"{pid} {then_ns}\n")

    (beat,) = heartbeat.read(tmp_path)

    assert 90 <= beat.age_s < 150


def test_heartbeats_are_written_at_most_once_a_second(tmp_path: Path) -> None:
    made = heartbeat.Heartbeat(tmp_path, "store", "main")
    before = (tmp_path / "store.main").read_bytes()
    started = time.perf_counter()

    for _ in range(100_000):
        made.beat()

    took_s = time.perf_counter() - started
    written = (tmp_path / "store.main").read_bytes()
    assert written == before or took_s > 0.9
    made.close()


def test_a_file_that_is_no_heartbeat_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "empty.main").touch()
    (tmp_path / "odd.main").write_text("one two three")
    (tmp_path / "bytes.main").write_bytes(b"\xff\xfe")

    assert heartbeat.read(tmp_path) == ()
    assert heartbeat.read(tmp_path / "absent") == ()


def test_hearts_need_nothing_but_the_standard_library() -> None:
    done = scripts.run(
        """
        import sys
        from beacon.runtime import heartbeat as heart
        foreign = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
        assert {name for name in foreign if not name.startswith("_")} <= {"beacon", "sitecustomize"}, foreign
        """
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_or_device_among_the_heartbeats_neither_blocks_nor_fills_the_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "store.fifo")
    (tmp_path / "store.zero").symlink_to("/dev/zero")
    (tmp_path / "store.large").write_bytes(b"1" * 1_000_000)
    (tmp_path / "store.directory").mkdir()
    (tmp_path / "store.empty").touch()

    assert heartbeat.read(tmp_path) == ()
