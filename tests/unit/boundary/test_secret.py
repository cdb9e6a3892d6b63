"""Tokens and passwords are read without what editors add to them, and refused if they can't be sent."""

from pathlib import Path

import pytest

from beacon import errors
from beacon.boundary import secret


@pytest.mark.parametrize(
    "data", [b"s3cret", b"s3cret\n", b" s3cret \r\n", b"\xef\xbb\xbfs3cret", b"\xef\xbb\xbf s3cret\r\n"]
)
def test_a_token_is_read_without_what_editors_add(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)

    assert secret.read_token(path, "the token") == "s3cret"
    assert secret.token(data.decode(), "the token") == "s3cret"


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_token_of_nothing_visible_is_empty(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)

    with pytest.raises(errors.TransientError, match="is empty"):
        secret.read_token(path, "the token")


@pytest.mark.parametrize("character", ["\n", "\0", "\x7f", "\x85", "\u200b", "\u202e", "\u2060", "\ufeff"])
def test_a_secret_with_a_control_character_is_refused_and_not_quoted(character: str) -> None:
    for read in (secret.token, secret.without_newline):
        with pytest.raises(errors.TransientError, match="it contains a line feed or another control") as caught:
            read(f"hunter2{character}hunter2", "it")

        assert "hunter2" not in str(caught.value)


def test_a_token_in_utf_16_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes("s3cret".encode("utf-16"))

    with pytest.raises(errors.TransientError, match="not UTF-8"):
        secret.read_token(path, "the token")


def test_the_placeholder_of_the_examples_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("replace-me\n")

    for read in (secret.read_token, secret.read_password):
        with pytest.raises(errors.TransientError, match="contains `replace-me`, the placeholder of the examples"):
            read(path, "it")
    with pytest.raises(errors.TransientError, match="it contains `replace-me`"):
        secret.token("replace-me", "it")
    assert secret.token("replace-me-not", "it") == "replace-me-not"
