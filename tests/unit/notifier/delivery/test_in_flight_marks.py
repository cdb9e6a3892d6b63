"""Marks of deliveries in flight, and their state after a process is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beacon import bus, errors
from beacon.notifier.delivery import in_flight_marks

KILLED = """
import os, pathlib, signal, sys
from beacon.notifier.delivery import in_flight_marks as marks
marked = marks.Marks(pathlib.Path(sys.argv[1]), most=4)
for delivery in (3, 5, 2**62, 9, 11):
    marked.begin(delivery)
marked.keep({3, 2**62, 9})
marked.begin(13)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notifier.marks"


def test_marks_survive_a_kill_as_far_as_slots_are_free(path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    first = in_flight_marks.Marks(path, most=4)
    first.close()
    second = in_flight_marks.Marks(path, most=4)
    second.close()

    assert ended.returncode == -signal.SIGKILL
    assert set(first.died.deliveries) == {3, 2**62, 9, 13}
    assert len(first.died.life) == 32
    assert second.died.deliveries == ()
    assert path.stat().st_mode & 0o777 == 0o600


def test_marks_of_a_living_process_are_not_read(path: Path) -> None:
    living = in_flight_marks.Marks(path, most=4)
    living.begin(7)

    other = in_flight_marks.Marks(path, most=4)
    other.begin(8)
    other.close()
    living.close()

    assert other.died == in_flight_marks.Died()
    assert in_flight_marks.Marks(path, most=4).died.deliveries == (7,)


@pytest.mark.parametrize("junk", [b"", b"x", b"\xff" * 31, b"\xff" * 45, os.urandom(4096)])
def test_any_file_can_be_read(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)

    marked = in_flight_marks.Marks(path, most=4)
    marked.begin(1)
    marked.close()

    assert len(marked.died.deliveries) <= len(junk) // 8
    assert in_flight_marks.Marks(path, most=4).died.deliveries == (1,)


@pytest.mark.parametrize(
    ("error", "left"),
    [(None, ()), (bus.SettingsChanged("x"), ()), (errors.Stopping("x"), ()), (errors.PermanentError("x"), (5,))],
)
def test_a_stop_and_a_new_configuration_do_not_count_as_deaths(
    path: Path, error: Exception | None, left: tuple[int, ...]
) -> None:
    def live() -> None:
        with in_flight_marks.open_marks(path, most=4, ledger="", failed=lambda: False) as marked:
            marked.begin(5)
            if error is not None:
                raise error

    if error is None:
        live()
    else:
        with pytest.raises(type(error)):
            live()

    assert in_flight_marks.Marks(path, most=4).died.deliveries == left


@pytest.mark.parametrize("now", ["other", ""])
def test_marks_of_another_ledger_are_ignored(path: Path, now: str) -> None:
    left = in_flight_marks.Marks(path, most=4, ledger="first")
    left.begin(5)
    left.close()
    same = path.read_bytes()
    other = in_flight_marks.Marks(path, most=4, ledger=now)
    other.close()
    path.write_bytes(same)

    assert other.died == in_flight_marks.Died()
    assert in_flight_marks.Marks(path, most=4, ledger="first").died.deliveries == (5,)


def test_marks_belong_to_the_ledger_that_replaced_another(path: Path) -> None:
    marked = in_flight_marks.Marks(path, most=4, ledger="first")
    marked.begin(5)
    marked.change_ledger("second")
    marked.begin(6)
    marked.close()

    assert in_flight_marks.Marks(path, most=4, ledger="second").died.deliveries == (6,)


def test_a_failed_thread_counts_as_a_death(path: Path) -> None:
    with in_flight_marks.open_marks(path, most=4, ledger="", failed=lambda: True) as marked:
        marked.begin(5)

    assert in_flight_marks.Marks(path, most=4).died.deliveries == (5,)
