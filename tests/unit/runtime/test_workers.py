"""The pool of threads: few at a time, but slow tasks hold up no others."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon.runtime import heartbeat, process, run_directory, stop_flag, workers
from tests import run_directories


@pytest.fixture
def context(tmp_path: Path) -> process.Context:
    return process.Context("watcher", run_dir=run_directories.made(tmp_path), stop=stop_flag.StopFlag())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def beating(context: process.Context) -> list[str]:
    return [beat.thread for beat in heartbeat.read(run_directory.heartbeats_directory(context.run_dir))]


def test_tasks_run_at_most_a_few_at_a_time(context: process.Context) -> None:
    pool = workers.Workers(context, "w", quick=3, most=8)
    lock, gate, running, most, done = threading.Lock(), threading.Event(), set[int](), [0], [0]

    def task(number: int) -> None:
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        gate.wait(0.001)
        with lock:
            running.remove(number)
            done[0] += 1

    for number in range(200):
        pool.run(str(number), lambda number=number: task(number))  # type: ignore[misc]
    until(lambda: done[0] == 200)

    assert 1 <= most[0] <= 3


def test_slow_tasks_hold_up_no_others_up_to_a_limit(context: process.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SLOW_S", 0.05)
    pool = workers.Workers(context, "w", quick=2, most=6)
    hung, release, quick = [0], threading.Event(), threading.Event()

    def hang() -> None:
        hung[0] += 1
        release.wait()

    for number in range(10):
        pool.run(f"slow-{number}", hang)

    def grown() -> bool:
        pool.grow()
        return hung[0] == 6

    until(grown)
    pool.run("quick", quick.set)
    assert not quick.is_set()

    release.set()
    until(quick.is_set)


def test_a_task_has_a_heartbeat_under_its_name_while_it_runs(context: process.Context) -> None:
    pool = workers.Workers(context, "w", quick=1, most=1)
    release = threading.Event()
    pool.run("ConfigMap@a", release.wait)  # type: ignore[arg-type]

    until(lambda: beating(context) == ["ConfigMap@a"])
    release.set()
    until(lambda: beating(context) == [])


def test_an_idle_thread_ends(context: process.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.02)
    pool = workers.Workers(context, "ends", quick=1, most=1)
    ran = threading.Event()
    pool.run("a", ran.set)
    until(ran.is_set)

    until(lambda: not any(thread.name.startswith("ends-") for thread in threading.enumerate()))
    again = threading.Event()
    pool.run("a", again.set)
    until(again.is_set)


def test_an_exception_of_a_task_ends_the_process(context: process.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []
    monkeypatch.setattr(context, "fail", failures.append)
    pool = workers.Workers(context, "w", quick=1, most=1)

    values: dict[str, int] = {}
    pool.run("a", lambda: values["missing"])  # type: ignore[arg-type]

    until(lambda: failures)
    assert isinstance(failures[0], KeyError)
    assert beating(context) == []
