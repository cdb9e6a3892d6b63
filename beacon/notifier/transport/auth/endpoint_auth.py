"""The credentials of one endpoint, and the keys of its signatures, from files that are read again when they change.

Nothing is sent before each named file could be read once: a request without its credentials would be refused.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote_plus

from beacon import errors
from beacon.boundary import secret
from beacon.notifier.transport import masking
from beacon.notifier.transport.auth import secret_file

_AUTHORIZATION = "Authorization"
_CHECK_EVERY_S = 1.0
_REMEMBERED = 4  # replaced secrets that an answer may still repeat, per file


class PasswordUse(StrEnum):
    """How a password is sent."""

    BASIC = "basic"
    FORM = "form"  # basic, with user and password encoded as in a form (RFC 6749, 2.3.1)
    BODY = "body"  # in the body, by the caller


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """The files of credentials and of secrets for signatures; all empty for none.

    `header_files` maps names of headers to files.
    """

    token_file: str = ""
    username: str = ""
    password_file: str = ""
    password_use: PasswordUse = PasswordUse.BASIC
    place: str = "auth.basic.passwordFile"  # the key that names the password file
    header_files: Mapping[str, str] = field(default_factory=dict)
    signing_files: tuple[str, ...] = ()

    @property
    def is_configured(self) -> bool:
        """Return True if a file is named."""
        return bool(self.token_file or self.password_file or self.header_files or self.signing_files)


class NoCredentialsError(errors.TransientError):
    """A file of the credentials has not been readable yet."""


class EndpointAuth:
    """The credentials of the next request. For one thread.

    `headers` is another mapping after each change; `keys` are those of the signatures. `version` grows with each change
    after the first complete reading. `missing` is the reason why nothing may be sent yet, "" once each file could be
    read.
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
        self._config = config
        self._on_secrets = on_secrets
        self._on_error = on_error
        self._password: secret_file.SecretFile | None = None
        self._headers: dict[str, secret_file.SecretFile] = {}  # by name
        for name, path in config.header_files.items():
            self._headers[name] = secret_file.SecretFile(path, f"auth.headerFiles.{name}", secret.read_token)
        if path := config.token_file:
            self._headers[_AUTHORIZATION] = secret_file.SecretFile(path, "auth.bearer.tokenFile", secret.read_token)
        elif path := config.password_file:
            self._password = secret_file.SecretFile(path, config.place, secret.read_password)
            if config.password_use is not PasswordUse.BODY:
                self._headers[_AUTHORIZATION] = self._password
        self._signing = [
            secret_file.SecretFile(path, f"signing.secretFiles[{index}]", secret.read_signing_secret)
            for index, path in enumerate(config.signing_files)
        ]
        in_body = (self._password,) if self._password and config.password_use is PasswordUse.BODY else ()
        self._files = (*self._headers.values(), *self._signing, *in_body)
        self._reported = [""] * len(self._files)
        self._secrets: list[list[tuple[str, ...]]] = [[] for _ in self._files]
        self._checked_at: float | None = None
        self._is_complete = False
        self.headers: Mapping[str, bytes] = {}
        self.keys: tuple[bytes, ...] = ()
        self.version = 0
        self.missing = ""
        self._refresh()

    @property
    def password(self) -> str:
        """Return the current password, for the caller to put into a body."""
        return self._password.value if self._password else ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secrets in every form that must be masked, and those replaced last."""
        return tuple(form for kept in self._secrets for forms in kept for form in forms)

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
        changed = [index for index, file in enumerate(self._files) if file.refresh()]
        for index, file in enumerate(self._files):
            if file.problem and file.problem != self._reported[index]:
                self._on_error(file.problem)
            self._reported[index] = file.problem
        self.missing = next((file.problem for file in self._files if not file.value), "")
        if not changed:
            return
        headers = {name: self._value(name, file.value) for name, file in self._headers.items() if file.value}
        for index in changed:
            self._register(index, self._files[index].value, headers.get(_AUTHORIZATION, b"").decode("utf-8"))
        if not self.missing:
            self.headers = headers
            self.keys = tuple(secret.signing_key(file.value) for file in self._signing)
            self.version += self._is_complete
            self._is_complete = True

    def _register(self, index: int, plain: str, authorization: str) -> None:
        forms = masking.forms((plain, plain.removeprefix("whsec_"), authorization))
        self._secrets[index] = [*self._secrets[index][-_REMEMBERED:], forms]
        self._on_secrets(forms)

    def _value(self, name: str, plain: str) -> bytes:
        """Return the value of a header."""
        value = plain.encode("utf-8")
        if name == _AUTHORIZATION and self._config.token_file:
            return b"Bearer " + value
        if name == _AUTHORIZATION and self._config.password_file:
            pair = [self._config.username, plain]
            if self._config.password_use is PasswordUse.FORM:
                pair = [quote_plus(part) for part in pair]
            return b"Basic " + base64.b64encode(":".join(pair).encode("utf-8"))
        return value
