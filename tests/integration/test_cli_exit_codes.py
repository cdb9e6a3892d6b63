"""Every exit code of every command is in the table of docs/cli.md and in the command's help."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from beacon import errors
from beacon.cli import __main__ as cli
from tests.integration.test_cli_ledger import ledger_with_events, served
from tests.integration.test_store_process import CONFIG, Place, place  # noqa: F401  a fixture
from tests.interpreters import doors

ROOT = Path(__file__).parents[2]
USAGE = 2
NEEDED = {  # the arguments without which a command is wrong use
    "backup": ("copy.db",),
    "completion": ("bash",),
    "discard": ("--reason", "r", "--state", "failed"),
    "explain": ("ConfigMap", "a/b"),
    "redeliver": ("--state", "failed"),
}
OF_THE_STORE = (
    "adopt",
    "backup",
    "discard",
    "events",
    "explain",
    "pause",
    "redeliver",
    "resume",
    "status",
    "tail",
    "test-event",
    "verify",
)


def documented() -> set[int]:
    """Return the codes in the table of the page."""
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8").partition("| exit code |")[2].partition("\n\n")[0]
    return {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}


def in_help(name: str) -> set[int]:
    """Return the codes that a command's help lists."""
    assert isinstance(cli.main, click.Group)
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    text = " ".join((command.epilog or "").partition("Exit codes:")[2].split())
    return {int(code) for code in re.findall(r"(?:^|, |: )(\d+) ", text)}


def run(*arguments: str, answer: str = "", **environ: str) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BEACON", "KUBE", "CONFIG"))}
    command = [sys.executable, "-m", "beacon.cli", *arguments]
    done = subprocess.run(
        command, env=kept | environ, input=answer, capture_output=True, text=True, check=False, timeout=90
    )
    assert "Traceback" not in done.stderr, done.stderr
    if arguments[0] in cli.NAMES:
        assert done.returncode in in_help(arguments[0]), f"{arguments}: {done.returncode} {done.stderr}"
    assert done.returncode in documented()
    return done.returncode, done.stderr


def codes(calls: Sequence[Sequence[str]], **environ: str) -> dict[str, int]:
    with ThreadPoolExecutor(10) as pool:
        found = pool.map(lambda call: run(*call, **environ)[0], calls)
        return dict(zip((call[0] for call in calls), found, strict=True))


@pytest.mark.parametrize("name", cli.NAMES)
def test_the_help_lists_codes_of_the_table(name: str) -> None:
    listed = in_help(name)

    assert {errors.EXIT_OK, USAGE} <= listed
    assert listed <= documented()


def test_every_code_that_a_command_can_end_with_is_in_the_table() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "beacon/cli").rglob("*.py"))
    text += (ROOT / "beacon/store/recovery/verification.py").read_text(encoding="utf-8")

    assert {getattr(errors, name) for name in re.findall(r"errors\.(EXIT_\w+)", text)} <= documented()


def test_wrong_use_is_the_same_code_everywhere() -> None:
    for arguments in (("no-such-command",), *((name, "--no-such-option") for name in cli.NAMES)):
        assert CliRunner().invoke(cli.main, arguments).exit_code == USAGE, arguments


def test_without_a_run_directory_the_environment_is_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    found = codes([(name, *NEEDED.get(name, ())) for name in OF_THE_STORE])

    assert found == dict.fromkeys(OF_THE_STORE, errors.EXIT_CONFIG)


def test_without_a_store_it_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    found = codes([(name, *NEEDED.get(name, ())) for name in OF_THE_STORE], BEACON_RUN_DIR=str(tmp_path))

    assert found == dict.fromkeys(OF_THE_STORE, errors.EXIT_UNAVAILABLE)


def test_commands_without_a_store_need_no_environment(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = ("--config", str(tmp_path / "config.yaml"))

    found = codes([("check-config", *config), ("rbac", *config), ("version",), ("completion", "zsh")])
    found |= codes([("plan", *config)])  # there are no credentials
    (tmp_path / "config.yaml").write_text("resources: 5")

    assert found == dict.fromkeys(found, errors.EXIT_OK) | {"plan": errors.EXIT_CONFIG}
    wrong = codes([(name, *config) for name in ("check-config", "plan", "rbac")])
    assert set(wrong.values()) == {errors.EXIT_CONFIG}


def test_with_a_store_each_failure_has_its_code(place: Place) -> None:  # noqa: F811
    store = ledger_with_events(place.data / "events.db")
    store.ledger.run("UPDATE deliveries SET state = 'failed'")
    event = str(store.ledger.rows("SELECT id FROM readable_events ORDER BY sequence")[0][0])
    store.ledger.close()
    served(place)
    here = {"BEACON_RUN_DIR": str(place.directory)}
    (place.directory / "there").touch()

    expected: list[tuple[int, str, tuple[str, ...]]] = [
        (errors.EXIT_OK, "", ("events",)),
        (errors.EXIT_OK, "", ("explain", event[:8])),
        (errors.EXIT_FAILURE, "no object and no event with the id", ("explain", "00000000")),
        (errors.EXIT_FAILURE, "too short", ("explain", "123")),
        (errors.EXIT_FAILURE, "no type", ("explain", "wdgt", "a/b")),
        (errors.EXIT_FAILURE, "no selected event has the id", ("redeliver", "00000000")),
        (errors.EXIT_FAILURE, "ambiguous, it may be uid-a, uid-b", ("events", "--uid", "uid-")),
        (errors.EXIT_FAILURE, "Aborted.", ("redeliver", "--state", "failed")),
        (errors.EXIT_FAILURE, "", ("adopt",)),
        (errors.EXIT_UNAVAILABLE, "the notifier does not answer", ("test-event",)),
        (errors.EXIT_FAILURE, "", ("status",)),
        (errors.EXIT_CANNOT_CREATE, "exists already", ("backup", str(place.directory / "there"))),
        (errors.EXIT_TEMPORARY, "being served", ("verify", str(place.data / "events.db"))),
    ]
    for code, text, arguments in expected:
        found, message = run(*arguments, **here)
        assert (found, text in message) == (code, True), f"{arguments}: {found} {message}"


def test_an_interrupted_command_has_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as server:
        kubeconfig = doors.write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{server.getsockname()[1]}")
        command = [sys.executable, "-m", "beacon.cli", "plan", "--config", str(tmp_path / "config.yaml")]
        environ = os.environ | {"KUBECONFIG": str(kubeconfig)}
        with (
            subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process,
            server.accept()[0],  # the command waits for an answer
        ):
            process.send_signal(signal.SIGINT)
            _, message = process.communicate(timeout=60)

    assert process.returncode == errors.EXIT_INTERRUPTED
    assert message.endswith("Interrupted.\n")
    assert errors.EXIT_INTERRUPTED in in_help("plan") & documented()


def test_a_reader_of_the_output_that_has_gone_is_a_failure_without_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "beacon.cli", "version"]

    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writer)

    assert (done.returncode, done.stderr) == (errors.EXIT_FAILURE, "")
