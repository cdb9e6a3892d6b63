"""Tokens and passwords as they are read: without the line feed at the end of a file, and fit to be sent.

No error repeats a secret, or a part of one: it names where the secret was read.
"""

import re
from pathlib import Path

from beacon import errors
from beacon.boundary import files

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_token(path: str | Path, name: str) -> str:
    """Return the token in a file; `name` says in a message which one it is.

    Raises:
        errors.TransientError: the file can't be read, is empty, or holds no token.
    """
    try:
        text = files.read_text(path, most_bytes=files.SECRET_BYTES)
    except UnicodeDecodeError as error:
        raise errors.TransientError(f"{name} {path} is not UTF-8 text") from error
    except OSError as error:
        raise errors.TransientError(f"{name} {path} can't be read: {error.strerror}") from error
    return token(text, f"{name} {path}")


def token(text: str, name: str) -> str:
    """Return a token without the blanks and line feeds around it; they can't be part of a header.

    Raises:
        errors.TransientError: it is empty, or holds a control character.
    """
    stripped = text.strip()
    if not stripped:
        raise errors.TransientError(f"{name} is empty")
    if _CONTROL.search(stripped):
        raise errors.TransientError(f"{name} holds a line feed or another control character")
    return stripped


def without_newline(text: str, name: str) -> str:
    """Return a password without one line feed at its end; blanks are part of it.

    Raises:
        errors.TransientError: it holds a control character.
    """
    stripped = text.removesuffix("\n").removesuffix("\r")
    if _CONTROL.search(stripped):
        raise errors.TransientError(f"{name} holds a line feed or another control character")
    return stripped
