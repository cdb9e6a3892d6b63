import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon import errors
from beacon.notifier.transport import auth_token


def within_seconds(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def put(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def test_without_a_token_there_is_none() -> None:
    assert auth_token.AuthToken().token() == ""


def test_a_token_of_the_environment_is_used_without_its_line_feed() -> None:
    assert auth_token.AuthToken(value="t0ken\n").token() == "t0ken"


@pytest.mark.parametrize("value", ["t0ken\nX-More: 1", "t0\0ken", "t0\x7fken"])
def test_an_invalid_token_is_rejected_by_variable_name_without_quoting_it(value: str) -> None:
    with pytest.raises(errors.ConfigError, match="ENDPOINT_AUTH_TOKEN contains a line feed") as caught:
        auth_token.AuthToken(value=value)

    assert "ken" not in str(caught.value)


def test_a_file_with_an_invalid_token_leaves_the_previous_one_in_use(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\r\n")
    made = auth_token.AuthToken(file=str(file))
    assert made.token() == "one"

    put(file, "two\nthree\n")
    time.sleep(1.1)
    assert made.token() == "one"
    put(file, "four\n")

    within_seconds(lambda: made.token() == "four")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hunter2\nhunter2", "contains a line feed or another control character"),
        (" \n", "is empty"),
        (
            "replace-me\n",
            "contains `replace-me`, the placeholder of the examples, which is never sent: replace it",
        ),
    ],
)
def test_the_reason_for_waiting_names_an_invalid_token_file(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    stop, said = threading.Event(), list[str]()

    def wait(words: str) -> None:
        said.append(words)
        stop.set()

    made = auth_token.AuthToken(file=str(file))
    made.wait(stop, beat=lambda: None, on_wait=wait)

    assert said == [f"ENDPOINT_AUTH_TOKEN_FILE {file} {reason}"]
    assert made.token() == ""


def test_a_replaced_file_is_used(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    new: list[str] = []
    made = auth_token.AuthToken(value="ignored", file=str(file), on_new=new.append)
    assert made.token() == "one"

    put(file, "two\n")

    within_seconds(lambda: made.token() == "two")
    assert new == ["one", "two"]


@pytest.mark.slow
def test_a_file_that_is_briefly_missing_or_empty_leaves_the_previous_token_in_use(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    made = auth_token.AuthToken(file=str(file))
    assert made.token() == "one"

    put(file, "")
    time.sleep(1.1)
    assert made.token() == "one"
    file.unlink()
    time.sleep(1.1)
    assert made.token() == "one"
    put(file, "two")

    within_seconds(lambda: made.token() == "two")


def test_a_file_that_appears_later_is_found(tmp_path: Path) -> None:
    file = tmp_path / "token"
    made = auth_token.AuthToken(file=str(file))
    assert made.token() == ""

    file.write_text("late")

    within_seconds(lambda: made.token() == "late")


def test_wait_returns_only_after_the_file_was_read_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    made = auth_token.AuthToken(file=str(file))
    said: list[str] = []
    beats: list[int] = []
    waiting = threading.Thread(
        target=made.wait, args=(threading.Event(),), kwargs={"beat": lambda: beats.append(0), "on_wait": said.append}
    )
    waiting.start()
    within_seconds(lambda: len(beats) >= 2)

    put(file, "late")
    waiting.join(100)

    assert not waiting.is_alive()
    assert made.token() == "late"
    assert len(said) == 1
    assert str(file) in said[0]


def test_wait_returns_at_once_without_a_file() -> None:
    auth_token.AuthToken(value="t").wait(threading.Event(), beat=pytest.fail, on_wait=pytest.fail)


def test_repr_does_not_contain_the_token() -> None:
    assert "t0ken" not in repr(auth_token.AuthToken(value="t0ken"))


def test_no_thread_uses_the_replaced_token_while_another_one_reads_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "token"
    put(file, "old")
    used: list[str] = []
    others: list[threading.Thread] = []

    def ask_meanwhile(new: str) -> None:
        if new == "new":
            others.append(threading.Thread(target=lambda: used.append(made.token())))
            others[0].start()
            others[0].join(0.2)  # it would be done by then if it did not wait

    made = auth_token.AuthToken(file=str(file), on_new=ask_meanwhile)
    assert made.token() == "old"
    put(file, "new")

    within_seconds(lambda: made.token() == "new")
    others[0].join()

    assert used == ["new"]
