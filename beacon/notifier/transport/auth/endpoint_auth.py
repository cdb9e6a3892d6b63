"""The headers with the credentials of one endpoint, from files that are read again when they change.

Nothing is sent before each named file could be read once: a request without its credentials would be refused.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from beacon import errors
from beacon.boundary import secret
from beacon.notifier.transport import masking
from beacon.notifier.transport.auth import secret_file

_CHECK_EVERY_S = 1.0
_REMEMBERED = 4  # replaced secrets that an answer may still repeat, per file


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """The files of the credentials; all empty for none. `header_files` maps names of headers to files."""

    token_file: str = ""
    username: str = ""
    password_file: str = ""
    header_files: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_configured(self) -> bool:
        """Return True if there are credentials."""
        return bool(self.token_file or self.password_file or self.header_files)


class NoCredentialsError(errors.TransientError):
    """A file of the credentials has not been readable yet."""


class EndpointAuth:
    """The credentials of the next request. For one thread.

    `headers` is another mapping after each change. `version` grows with each change after the first complete reading.
    `missing` is the reason why nothing may be sent yet, "" once each file could be read.
    """

    def __init__(
        self,
        config: AuthConfig,
        *,
        on_secrets: Callable[[tuple[str, ...]], None],
        on_error: Callable[[str], None],
    ) -> None:
        """Read the files.

        `on_secrets` is called with every form of a secret that was read, before it is used; `on_error` once with each
        reason why a file can't be used.
        """
        self._username = config.username
        self._on_secrets = on_secrets
        self._on_error = on_error
        self._files: dict[str, secret_file.SecretFile] = {}  # by the header that it sets
        for name, path in config.header_files.items():
            self._files[name] = secret_file.SecretFile(path, f"auth.headerFiles.{name}", secret.read_token)
        if path := config.token_file:
            self._files["Authorization"] = secret_file.SecretFile(path, "auth.bearer.tokenFile", secret.read_token)
        elif path := config.password_file:
            self._files["Authorization"] = secret_file.SecretFile(path, "auth.basic.passwordFile", secret.read_password)
        self._is_basic = bool(config.password_file)
        self._is_bearer = bool(config.token_file)
        self._problems: dict[str, str] = {}
        self._secrets: dict[str, list[tuple[str, ...]]] = {}
        self._checked_at: float | None = None
        self.headers: Mapping[str, bytes] = {}
        self.version = 0
        self.missing = ""
        self._refresh()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secrets in every form that must be masked, and those replaced last."""
        return tuple(form for kept in self._secrets.values() for forms in kept for form in forms)

    def check(self, now: float) -> None:
        """Read the files that have changed, at most once a second; `now` is monotonic.

        Raises:
            NoCredentialsError: one of them could not be read yet.
        """
        if self._checked_at is None or now - self._checked_at >= _CHECK_EVERY_S:
            self._checked_at = now
            self._refresh()
        if self.missing:
            raise NoCredentialsError(self.missing)

    def _refresh(self) -> None:
        was_complete = bool(self.headers)
        changed = [name for name, file in self._files.items() if file.refresh()]
        for name, file in self._files.items():
            if file.problem and file.problem != self._problems.get(name):
                self._on_error(file.problem)
            self._problems[name] = file.problem
        for name in changed:
            self._register(name)
        self.missing = next((file.problem for file in self._files.values() if not file.value), "")
        if changed and not self.missing:
            self.headers = {name: self._value(name) for name in self._files}
            self.version += was_complete

    def _register(self, name: str) -> None:
        plain = self._files[name].value
        forms = masking.forms((plain, self._value(name).decode("utf-8")))
        self._secrets[name] = [*self._secrets.get(name, [])[-_REMEMBERED:], forms]
        self._on_secrets(forms)

    def _value(self, name: str) -> bytes:
        """Return the value of a header."""
        value = self._files[name].value.encode("utf-8")
        if name != "Authorization" or not (self._is_basic or self._is_bearer):
            return value
        if self._is_bearer:
            return b"Bearer " + value
        return b"Basic " + base64.b64encode(self._username.encode("utf-8") + b":" + value)
