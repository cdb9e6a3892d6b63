"""supervisord.conf under the real supervisord: start, order of stopping, deaths of every kind."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import multiprocess

from beacon.runtime import metric_files, run_directory
from beacon.runtime.supervision import ProgramState
from tests import text_lines
from tests.integration import processes
from tests.system import load, supervised
from tests.system.supervised import until

ALL = (*supervised.PROGRAMS, "sentinel")


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="b") as name:
        yield Path(name)


def counted(base: Path) -> dict[str, float]:
    directory = run_directory.metrics_directory(base / "beacon")
    paths = [str(path) for path in metric_files.files(directory, ()) if metric_files.sound(path)]
    found = multiprocess.MultiProcessCollector.merge(paths)  # type: ignore[no-untyped-call]
    return {sample.name: sample.value for family in found for sample in family.samples}


def test_all_programs_run_and_supervisorctl_needs_only_the_file(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_are_running()

        status = subprocess.run(
            [f"{supervised.SCRIPTS}/supervisorctl", "-c", str(supervised.CONF), "status"],
            env=dict(it.environ),
            capture_output=True,
            text=True,
            check=False,
        )

        assert (status.returncode, status.stderr) == (0, "")
        assert sorted(line.split()[0] for line in status.stdout.splitlines()) == sorted(ALL)
        assert status.stdout.count("RUNNING") == len(ALL)
        assert (base / "supervisor.sock").stat().st_mode & 0o777 == 0o700


def test_with_the_text_format_every_line_of_every_process_is_text(base: Path) -> None:
    config = base / "config.yaml"
    config.write_text("app: {logFormat: text}\n")
    with supervised.supervised(base, variables={"CONFIG_PATH": str(config)}) as it:
        until(lambda: sum(b" running" in line for line in list(it.odd)) == len(supervised.PROGRAMS), "all to run")
        it.process.terminate()

        assert it.end() == 0
    lines = [text_lines.parse(line.decode().rstrip("\n")) for line in it.odd]
    assert it.lines == []
    assert {line["process"] for line in lines} == set(ALL)
    assert {line["process"] for line in lines if line["event"] == "started"} == set(ALL)


def test_only_the_notifier_has_the_token_in_its_environment(base: Path) -> None:
    with supervised.supervised(base, variables={"ENDPOINT_AUTH_TOKEN": "t0ken-of-the-environment"}) as it:
        it.until_all_are_running()
        environs = {name: Path(f"/proc/{it.pid(name)}/environ").read_bytes() for name in ALL}
        every = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in supervised.children(base)}

    assert [name for name, environ in environs.items() if b"t0ken-of-the-environment" in environ] == ["notifier"]
    assert len([pid for pid, environ in every.items() if b"t0ken-of-the-environment" in environ]) == 1
    assert all(b"BEACON_RUN_DIR=" in environ for environ in environs.values())


def test_sigterm_stops_them_one_after_another_the_store_last_and_all_output_is_json(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_run()

        it.process.terminate()

        assert it.end() == 0
        order = [(line["process"], line["event"]) for line in it.lines if line["event"] in ("stopping", "ended")]
        stops = ["watcher", "reconciler", "notifier", "exporter", "store"]
        assert order[:-1] == [(name, event) for name in stops for event in ("stopping", "ended")]
        assert order[-1] == ("sentinel", "ended")
        assert [line["code"] for line in it.lines if line["event"] == "ended"] == [0] * 6
        assert supervised.children(base) == set()
    assert it.odd == []
    assert "supervisord started" in (base / "supervisord.log").read_text()


def test_a_second_sigterm_is_harmless(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_run()
        it.process.terminate()
        until(lambda: it.logged_by("stopping"), "the first to stop")

        it.process.terminate()
        for pid in supervised.children(base):
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(pid, signal.SIGTERM)

        assert it.end() == 0
        assert sorted(it.logged_by("ended")) == sorted(ALL)


def test_no_orphan_survives_a_kill_nine_of_supervisord(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_run()
        pids = supervised.children(base)
        assert len(pids) == len(ALL)

        it.process.kill()

        until(lambda: not any(processes.alive(pid) for pid in pids), "the orphans' death")


def test_no_orphan_survives_a_kill_nine_of_supervisord_while_it_starts_them(base: Path) -> None:
    moments = random.Random(7)
    for _ in range(4):
        with supervised.supervised(base) as it:
            until(lambda: supervised.children(base), "a first program")
            load.pause(moments, 0, 0.4)

            it.process.kill()
            it.process.wait()

            until(lambda: not supervised.children(base), "the orphans' death")


def test_a_killed_program_is_restarted_and_its_counters_continue(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_are_running()
        before = it.pid("watcher")

        os.kill(before, signal.SIGKILL)

        until(lambda: it.logged_by("running").count("watcher") == 2, "a second watcher")
        assert it.pid("watcher") != before
        assert counted(base)["beacon_events_total"] == len(supervised.PROGRAMS) + 1


def test_a_restarted_store_clears_nothing_but_a_new_supervisord_clears_the_run_directory(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_are_running()
        os.kill(it.pid("store"), signal.SIGKILL)
        until(lambda: it.logged_by("running").count("store") == 2, "a second store")
        assert counted(base)["beacon_events_total"] == len(supervised.PROGRAMS) + 1

    with supervised.supervised(base) as it:
        it.until_all_run()
        assert counted(base)["beacon_events_total"] == len(supervised.PROGRAMS)


def test_the_other_programs_wait_for_a_slow_store(base: Path) -> None:
    awake = 'print(\'{"event": "awake", "process": "store"}\', flush=True)'
    late = f"import time; time.sleep(4); {awake}\n{supervised.ROLE}"
    with supervised.supervised(base, roles={"store": late}) as it:
        it.until_all_are_running()

        said = [line["event"] for line in it.lines]
        assert said.index("awake") < said.index("running")
        assert it.logged_by("started").count("watcher") == 1


def test_a_frozen_program_is_killed_after_its_stop_timeout(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_run()
        frozen = it.pid("exporter")
        os.kill(frozen, signal.SIGSTOP)

        it.process.terminate()

        assert it.end() == 0
        assert f"killing 'exporter' ({frozen}) with SIGKILL" in (base / "supervisord.log").read_text()
        assert it.logged_by("ended") == ["watcher", "reconciler", "notifier", "store", "sentinel"]


def test_several_run_side_by_side_in_other_directories(base: Path) -> None:
    one, two = base / "1", base / "2"
    one.mkdir()
    two.mkdir()
    with supervised.supervised(one) as first, supervised.supervised(two) as second:
        first.until_all_run()
        second.until_all_run()

        first.process.terminate()
        first.end()

        assert len(supervised.children(two)) == len(ALL)


def test_a_second_supervisord_in_one_directory_does_not_disturb_the_first(base: Path) -> None:
    with supervised.supervised(base) as it:
        it.until_all_run()
        pids = supervised.children(base)

        second = subprocess.run(
            [f"{supervised.SCRIPTS}/supervisord", "-n", "-c", str(supervised.CONF)],
            env=dict(it.environ),
            capture_output=True,
            timeout=supervised.PATIENCE_S,
            check=False,
        )

        assert second.returncode != 0
        assert supervised.children(base) == pids
        assert it.program("store").state in (ProgramState.STARTING, ProgramState.RUNNING)


def test_the_stop_timeouts_fit_into_the_grace_period_of_a_pod() -> None:
    lines = supervised.CONF.read_text().splitlines()

    assert sum(int(line.partition("=")[2]) for line in lines if line.startswith("stopwaitsecs=")) < 45
