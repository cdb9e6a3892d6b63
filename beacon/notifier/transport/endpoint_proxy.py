"""The proxy to one endpoint: that of the environment, none, or a configured one with a password file.

The environment is read once. The password file is read again when it changes. If it is missing or invalid for a moment,
as while a mounted secret is replaced, the previous password stays in use; nothing is sent before the first one is read.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

from beacon import errors
from beacon.boundary import proxies, secret
from beacon.notifier.transport import masking, tls_context

OF_ENVIRONMENT, NONE = "env", "none"
_CHECK_EVERY_S = 1.0
_REMEMBERED = 4  # replaced passwords that an answer may still repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """`url` may also be `OF_ENVIRONMENT` or `NONE`."""

    url: str = OF_ENVIRONMENT
    username: str = ""
    password_file: str = ""


class NoPasswordError(errors.TransientError):
    """The password file of the proxy has not been readable yet."""


class EndpointProxy:
    """The proxy that new connections use. For one thread."""

    def __init__(
        self,
        config: ProxyConfig,
        url: str,
        *,
        on_secrets: Callable[[tuple[str, ...]], None],
        on_error: Callable[[str], None],
    ) -> None:
        """Determine the proxy for the endpoint's URL.

        `on_secrets` is called with every form of a password that was read, before it is used; `on_error` once with each
        reason why the password file can't be used.

        Raises:
            errors.ConfigError: the proxy can't be used.
        """
        self._file = config.password_file
        self._on_secrets = on_secrets
        self._on_error = on_error
        self._signature: object = None
        self._checked_at = -_CHECK_EVERY_S
        self._problem = ""
        self._secrets: list[tuple[str, ...]] = []
        self._has_password = not self._file
        self.proxy = _of(config, url)
        if self.proxy is not None and not self._file:
            self._secrets.append(masking.of_request("", {}, (_with_credentials(self.proxy),)))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the credentials of the proxy in every form that must be masked."""
        return tuple(form for forms in self._secrets for form in forms)

    def changed(self, now: float) -> bool:
        """Return True if the password is another one than at the last call; `now` is monotonic.

        Raises:
            NoPasswordError: no password could be read yet.
        """
        if not self._file or now - self._checked_at < _CHECK_EVERY_S:
            self._require_password()
            return False
        self._checked_at = now
        is_new = self._refresh()
        self._require_password()
        return is_new

    def _require_password(self) -> None:
        if not self._has_password:
            raise NoPasswordError(self._problem)

    def _refresh(self) -> bool:
        signature = tls_context.signature(self._file)
        if self._has_password and signature in (None, self._signature):
            return False
        try:
            password = secret.read_password(self._file, "proxy.passwordFile")
            if self.proxy is not None:
                proxies.check_password(password, self.proxy.url, f"proxy.passwordFile {self._file}")
        except errors.TransientError as error:
            self._reject(str(error))
            return False
        self._signature, self._problem = signature, ""
        return self._use(password)

    def _reject(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._on_error(problem)

    def _use(self, password: str) -> bool:
        if self.proxy is None or (self._has_password and password == self.proxy.password):
            return False
        made = replace(self.proxy, password=password)
        forms = masking.of_request("", {}, (_with_credentials(made),))
        self._secrets = [*self._secrets[-_REMEMBERED:], forms]
        self._on_secrets(forms)
        self.proxy, self._has_password = made, True
        return True


def _of(config: ProxyConfig, url: str) -> proxies.Proxy | None:
    if config.url == OF_ENVIRONMENT:
        return proxies.of_environment(os.environ, url)
    if config.url == NONE:
        return None
    return replace(proxies.parse(config.url, "proxy.url"), username=config.username)


def _with_credentials(proxy: proxies.Proxy) -> str:
    """Return the proxy's URL with user and password as a URL has them."""
    if not (proxy.username or proxy.password):
        return proxy.url
    scheme, _, rest = proxy.url.partition("://")
    return f"{scheme}://{quote(proxy.username, safe='')}:{quote(proxy.password, safe='')}@{rest}"
