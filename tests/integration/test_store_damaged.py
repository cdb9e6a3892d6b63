"""The store process on a volume or a file that is not as it should be: what it says, and how it goes on."""

import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from beacon import codec, errors, wire
from tests.integration.test_store_process import Place, place  # noqa: F401  a fixture

PAGE = 4096


def lines_with(process: subprocess.Popen[str], event: str) -> dict[str, str]:
    assert process.stdout is not None
    for line in process.stdout:
        said: dict[str, str] = codec.decode(line)
        if said["event"] == event:
            return said
    raise AssertionError(f"{event!r} was never said")


def serve_once(place: Place) -> None:  # noqa: F811
    process = place.start()
    with place.client() as client:
        client.call(wire.Inspect())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=100) == errors.EXIT_OK


@pytest.mark.parametrize("content", [b"x", b"garbage" * 5000])
def test_a_file_that_is_no_database_is_set_aside_and_reported(place: Place, content: bytes) -> None:  # noqa: F811
    file = place.data / "events.db"
    file.write_bytes(content)

    process = place.start()

    said = lines_with(process, "damaged ledger replaced")
    assert Path(said["aside"]).read_bytes() == content
    with place.client() as client:
        assert isinstance(client.call(wire.Inspect()), wire.Statistics)


def test_damage_met_while_serving_ends_the_store_and_the_next_start_repairs(place: Place) -> None:  # noqa: F811
    serve_once(place)
    file = place.data / "events.db"
    with sqlite3.connect(file) as opened:
        (root,) = opened.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'cursors'").fetchone()
    opened.close()
    look = file.stat()
    (place.data / "events.db.mark").write_text(f"clean {look.st_size} {look.st_mtime_ns}\n")
    data = bytearray(file.read_bytes())
    data[(root - 1) * PAGE : root * PAGE] = os.urandom(PAGE)
    file.write_bytes(data)
    os.utime(file, ns=(look.st_atime_ns, look.st_mtime_ns))  # as if the file had not been written

    code, lines = place.ended()
    process = place.start()

    assert code == errors.EXIT_FAILURE
    assert any("damaged" in line.get("reason", "") for line in lines)
    assert not [line for line in lines if "traceback" in line]
    lines_with(process, "damaged ledger replaced")
    lines_with(process, "serving")


def test_a_clean_end_spares_the_next_start_the_check(place: Place) -> None:  # noqa: F811
    serve_once(place)

    assert (place.data / "events.db.mark").read_text().startswith("clean ")
    process = place.start()
    lines_with(process, "serving")
    assert not (place.data / "events.db.mark").exists()


def test_a_database_of_another_program_is_refused(place: Place) -> None:  # noqa: F811
    with sqlite3.connect(place.data / "events.db") as theirs:
        theirs.execute("CREATE TABLE theirs (x)")
    theirs.close()

    code, lines = place.ended()

    assert code == errors.EXIT_CONFIG
    assert any("of another program" in line.get("reason", "") for line in lines)
