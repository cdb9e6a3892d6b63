"""Reads tokens and passwords: removes the line feed at the end of a file and a byte order mark at its beginning.

Text that can't be sent is rejected, and so is the placeholder of the examples: a receiver would answer it with 401.

No error repeats a secret or a part of one, only where it was read.
"""

import base64
import re
from pathlib import Path

from beacon import errors
from beacon.boundary import files

PLACEHOLDER = "replace-me"  # in the examples, in place of a secret
_SIGNING_MARK = "whsec_"
_SIGNING_BYTES = (24, 64)  # Standard Webhooks 1.0
_MARK = "\ufeff"  # a byte order mark
# Also those of Unicode that are invisible: a header would carry them, and no log would show why the token is wrong.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")


def read_token(path: str | Path, name: str) -> str:
    """Return the token in a file; `name` describes it in messages.

    Raises:
        errors.TransientError: the file can't be read, is empty, or contains no valid token.
    """
    return token(_read(path, name), f"{name} {path}")


def read_password(path: str | Path, name: str) -> str:
    """Return the password in a file; `name` describes it in messages.

    Raises:
        errors.TransientError: the file can't be read, is empty, or contains no valid password.
    """
    password = without_newline(_read(path, name).removeprefix(_MARK), f"{name} {path}")
    if not password:
        raise errors.TransientError(f"{name} {path} is empty")
    _refuse_placeholder(password, f"{name} {path}")
    return password


def token(text: str, name: str) -> str:
    """Return a token without surrounding blanks and line feeds, which can't be part of a header.

    Raises:
        errors.TransientError: the token is empty, contains a control character, or is the placeholder of the examples.
    """
    stripped = text.strip().removeprefix(_MARK).strip()
    if not stripped:
        raise errors.TransientError(f"{name} is empty")
    if _CONTROL.search(stripped):
        raise errors.TransientError(f"{name} contains a line feed or another control character")
    _refuse_placeholder(stripped, name)
    return stripped


def read_signing_secret(path: str | Path, name: str) -> str:
    """Return the secret of Standard Webhooks in a file; `signing_key` returns its bytes.

    Raises:
        errors.TransientError: the file can't be read, or contains no valid secret.
    """
    text = read_token(path, name)
    try:
        length = len(signing_key(text)) if text.startswith(_SIGNING_MARK) else 0
    except ValueError:
        length = 0
    if not _SIGNING_BYTES[0] <= length <= _SIGNING_BYTES[1]:
        low, high = _SIGNING_BYTES
        raise errors.TransientError(
            f"{name} {path} must contain {_SIGNING_MARK} and the base64 of {low} to {high} bytes"
        )
    return text


def signing_key(text: str) -> bytes:
    """Return the key of a secret of Standard Webhooks; padding may be absent.

    Raises:
        ValueError: the text is not base64.
    """
    encoded = text.removeprefix(_SIGNING_MARK).rstrip("=")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)


def without_newline(text: str, name: str) -> str:
    """Return a password without one line feed at its end; blanks are part of it.

    Raises:
        errors.TransientError: the password contains a control character.
    """
    stripped = text.removesuffix("\n").removesuffix("\r")
    if _CONTROL.search(stripped):
        raise errors.TransientError(f"{name} contains a line feed or another control character")
    return stripped


def _refuse_placeholder(text: str, name: str) -> None:
    if text == PLACEHOLDER:
        raise errors.TransientError(
            f"{name} contains `{PLACEHOLDER}`, the placeholder of the examples, which is never sent: replace it"
        )


def _read(path: str | Path, name: str) -> str:
    try:
        return files.read_text(path, most_bytes=files.SECRET_BYTES)
    except UnicodeDecodeError as error:
        raise errors.TransientError(f"{name} {path} is not UTF-8 text") from error
    except OSError as error:
        raise errors.TransientError(f"{name} {path} can't be read: {error.strerror}") from error
