"""The bearer token in force: from the environment, or from a file that is read again when it changes.

A token never appears in a log line, an error or a `repr`. A file that is missing or empty for a moment, as while a
mounted secret is replaced, leaves the former token in force.
"""

import threading
import time
from collections.abc import Callable

from beacon import errors
from beacon.boundary import files, secret
from beacon.notifier import tls_context

_CHECK_EVERY_S = 1.0


class Bearer:
    """Gives the token for the next request; any number of threads may ask."""

    def __init__(self, *, value: str = "", file: str = "", on_new: Callable[[str], None] = lambda _: None) -> None:
        """Use the file when one is named, else the value; `on_new` is told every token that comes into force.

        Raises:
            errors.ConfigError: the value holds a control character.
        """
        self._file = file
        self._on_new = on_new
        self._value = ""
        self._signature: object = None
        self._checked_at = -_CHECK_EVERY_S
        self._trouble = "is missing, empty or unreadable"
        if value.strip() and not file:
            self._put(_given(value))

    def token(self) -> str:
        """Give the token in force, "" for none."""
        if self._file:
            now = time.monotonic()
            if now - self._checked_at >= _CHECK_EVERY_S:
                self._checked_at = now
                self._look()
        return self._value

    def wait(self, stop: threading.Event, *, beat: Callable[[], None], on_wait: Callable[[str], None]) -> None:
        """Wait until the file, if one is named, has been read once; `on_wait` is told once that it is waited for.

        Without it requests would go out unauthorised, and the endpoint's 401 would fail their events for good.
        """
        said = False
        while self._file and not self.token() and not stop.is_set():
            if not said:
                on_wait(f"ENDPOINT_AUTH_TOKEN_FILE {self._file} {self._trouble}")
                said = True
            beat()
            stop.wait(_CHECK_EVERY_S)

    def _look(self) -> None:
        signature = tls_context.signature(self._file)
        if signature is None or signature == self._signature:
            return
        try:
            text = files.read_text(self._file, most_bytes=files.SECRET_BYTES)
        except (OSError, UnicodeDecodeError):
            return
        self._signature = signature
        try:
            self._put(secret.token(text, "it"))
        except errors.TransientError:
            self._trouble = "is empty, or holds a line feed or another control character"

    def _put(self, text: str) -> None:
        if text != self._value:
            self._on_new(text)
            self._value = text


def _given(value: str) -> str:
    try:
        return secret.token(value, "ENDPOINT_AUTH_TOKEN")
    except errors.TransientError as error:
        raise errors.ConfigError([str(error)]) from error
