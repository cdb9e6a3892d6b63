"""The current bearer token: from the environment, or from a file that is reread when it changes.

A token never appears in a log line, an error or a `repr`. A file that is missing or empty for a moment, as while a
mounted secret is replaced, leaves the previous token in use.
"""

import threading
import time
from collections.abc import Callable

from beacon import errors
from beacon.boundary import files, secret
from beacon.notifier.transport import tls_context

_CHECK_EVERY_S = 1.0


class AuthToken:
    """The token for the next request."""

    def __init__(self, *, value: str = "", file: str = "", on_new: Callable[[str], None] = lambda _: None) -> None:
        """Use the file if one is named, else the value; `on_new` is called with each new token.

        Raises:
            errors.ConfigError: the value contains a control character.
        """
        self._file = file
        self._on_new = on_new
        self._value = ""
        self._signature: object = None
        self._checked_at = -_CHECK_EVERY_S
        self._lock = threading.Lock()
        self.problem = "is missing, empty or unreadable"  # why there is no token, as long as there is none
        if value.strip() and not file:
            self._set(_validated(value))

    def token(self) -> str:
        """Return the current token, "" for none."""
        if self._file and self._is_due():
            # The others wait for the thread that reads: a request with the replaced token would get a 401.
            with self._lock:
                if self._is_due():
                    self._refresh()
                    self._checked_at = time.monotonic()
        return self._value

    def wait(self, stop: threading.Event, *, beat: Callable[[], None], on_wait: Callable[[str], None]) -> None:
        """Wait until the file, if one is named, has been read once; call `on_wait` once with the reason for waiting.

        Requests without the token would get a 401, which fails their events permanently.
        """
        reported = False
        while self._file and not self.token() and not stop.is_set():
            if not reported:
                on_wait(f"ENDPOINT_AUTH_TOKEN_FILE {self._file} {self.problem}")
                reported = True
            beat()
            stop.wait(_CHECK_EVERY_S)

    def _is_due(self) -> bool:
        return time.monotonic() - self._checked_at >= _CHECK_EVERY_S

    def _refresh(self) -> None:
        signature = tls_context.signature(self._file)
        if signature is None or signature == self._signature:
            return
        try:
            text = files.read_text(self._file, most_bytes=files.SECRET_BYTES)
        except (OSError, UnicodeDecodeError):
            return
        self._signature = signature
        try:
            self._set(secret.token(text, "it"))
        except errors.TransientError as error:
            self.problem = str(error).removeprefix("it ")

    def _set(self, text: str) -> None:
        if text != self._value:
            self._on_new(text)
            self._value = text


def _validated(value: str) -> str:
    try:
        return secret.token(value, "ENDPOINT_AUTH_TOKEN")
    except errors.TransientError as error:
        raise errors.ConfigError([str(error)]) from error
