"""Parses and validates the URLs of proxies, and selects the proxy for a URL. Pure, and standard library only.

The proxy of the endpoint is configured by the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), that of the
API server by the kubeconfig (`proxy-url`). No error repeats a proxy's user or password.
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from beacon import errors

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_SOCKS_WORD = 255  # bytes, RFC 1929
_TARGET_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy. With `socks5h` the proxy resolves host names, with `socks5` the caller does."""

    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    text: str = field(default="", repr=False, compare=False)  # as configured

    @property
    def url(self) -> str:
        """Return the proxy's URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def authorization(self) -> str:
        """Return the value of Proxy-Authorization (RFC 7617), "" without a user."""
        if not (self.username or self.password):
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def is_socks(self) -> bool:
        """Return True for SOCKS, False for HTTP."""
        return self.scheme.startswith("socks")


def parse(text: str, name: str) -> Proxy:
    """Parse the URL of a proxy, by default of scheme http. `name` is where it was configured.

    Raises:
        errors.ConfigError: the URL can't be used; the message does not repeat it.
    """
    url = text.strip()
    if _UNSENDABLE.search(url):
        raise errors.ConfigError([f"{name}: the proxy's URL contains a blank or a control character"])
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise errors.ConfigError([f"{name}: the proxy's host or port is malformed{_HINT}"]) from error
    if problem := _problem(parts, port):
        raise errors.ConfigError([f"{name}: {problem}"])
    made = Proxy(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=port or _PORTS[parts.scheme],
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        text=url if "://" in url else f"http://{url}",
    )
    if problem := _problem_of_credentials(made):
        raise errors.ConfigError([f"{name}: {problem}"])
    return made


def of_environment(environ: Mapping[str, str], url: str) -> Proxy | None:
    """Return the environment's proxy for a URL, or None for a direct connection.

    Raises:
        errors.ConfigError: the proxy can't be used.
    """
    try:
        target = urlsplit(url)
        port = target.port or _TARGET_PORTS.get(target.scheme, 0)
    except ValueError:
        return None  # rejected where the URL is validated
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        used = name if name in environ else name.upper()
        if value := environ.get(used, "").strip():
            direct = is_bypassed(target.hostname or "", port, environ.get("no_proxy", environ.get("NO_PROXY", "")))
            return None if direct else parse(value, used)
    return None


def problem_of_user(username: str, *, is_socks: bool) -> str:
    """Return why a user can't be sent to a proxy, "" if it can."""
    if _CONTROL.search(username):
        return "contains a line feed or another control character"
    if is_socks and len(username.encode()) > _LONGEST_SOCKS_WORD:
        return "has more than 255 bytes, which is the limit of a SOCKS proxy"
    if not is_socks and ":" in username:
        return "contains a colon, which ends a user in basic credentials"
    return ""


def check_password(password: str, url: str, name: str) -> None:
    """Check that a password can be sent to the proxy of a valid URL; `name` is where it was read.

    Raises:
        errors.TransientError: it is too long.
    """
    if url.startswith("socks") and len(password.encode()) > _LONGEST_SOCKS_WORD:
        raise errors.TransientError(f"{name} has more than 255 bytes, which is the limit of a SOCKS proxy")


def is_bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Return True if NO_PROXY lists a host: by name, domain, address, network, each with or without a port, or `*`."""
    host = host.lower().rstrip(".")
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        name, at = _split_port(entry)
        if entry == "*" or (name and at in (None, port) and _matches(host, name)):
            return True
    return False


_HINT = "; characters such as @ / # in a user or password must be percent-encoded"


def _problem(parts: SplitResult, port: int | None) -> str:
    if parts.scheme not in _PORTS:
        return f"proxies of this kind are not supported: use {', '.join(f'{scheme}://' for scheme in _PORTS)}"
    if port == 0:
        return "the proxy's port must be from 1 to 65535"
    host = parts.hostname or ""
    if not host:
        return f"the proxy's URL has no host{_HINT}"
    if not _HOST.fullmatch(host) and not _is_address(host):
        return f"the proxy's host is malformed{_HINT}"
    return ""


def _problem_of_credentials(made: Proxy) -> str:
    if _CONTROL.search(made.username + made.password):
        return "the proxy's user or password contains a line feed or another control character"
    if not made.is_socks:
        return ""
    if max(len(made.username.encode()), len(made.password.encode())) > _LONGEST_SOCKS_WORD:
        return "user and password of a SOCKS proxy have at most 255 bytes"
    if bool(made.username) != bool(made.password):
        return "a SOCKS proxy needs both user and password, or neither"
    return ""


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split an entry such as `host:8080` or `[::1]:8080`; the colons of a bare IPv6 address separate no port."""
    if found := re.fullmatch(r"\[(.+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", entry):
        port = found[2] or found[4]
        return found[1] or found[3], int(port) if port else None
    return entry, None


def _matches(host: str, name: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
