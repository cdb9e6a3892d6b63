"""The TLS context: trusted authorities and client certificate, recreated when one of the files changes.

Reading a bundle of authorities takes tens of milliseconds, so all connections share one context. If a changed file is
invalid, the previous context stays in use: half-written files are common while a secret is replaced.
"""

import os
import ssl
from dataclasses import dataclass

from beacon.boundary import tls

_CHECK_EVERY_S = 1.0

Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The paths of authorities, certificate and key; "" for the system's authorities, and for no client certificate."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True

    @property
    def named(self) -> tuple[str, ...]:
        """Return the paths of the files that are configured."""
        return tuple(path for path in (self.ca, self.certificate, self.key) if path)


class TlsContexts:
    """Creates a TLS context whenever its files change."""

    def __init__(self, files: TlsFiles) -> None:
        """Watch the given files."""
        self._files = files
        self._paths = files.named
        self._signature: Signature | None = None
        self._checked_at = -_CHECK_EVERY_S

    def changed(self, now: float) -> ssl.SSLContext | None:
        """Return a new context at the first call and after a file has changed, else None.

        Raises:
            errors.TransientError: a file can't be used; raised once per change. The previous context stays valid.
        """
        if now - self._checked_at < _CHECK_EVERY_S:
            return None
        self._checked_at = now
        found = tuple(signature(path) for path in self._paths)
        if found == self._signature:
            return None
        self._signature = found
        return make_context(self._files)

    def proxy_context(self) -> ssl.SSLContext:
        """Return the context for an https proxy: the system's authorities and those of the endpoint.

        Raises:
            errors.TransientError: a file can't be used.
        """
        context = tls.bare(verify=self._files.verify)
        if self._files.verify:
            tls.trust_system(context)
        if self._files.verify and self._files.ca:
            tls.trust_file(context, self._files.ca)
        return context


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a TLS context made from files.

    Raises:
        errors.TransientError: a file is missing, unreadable or invalid.
    """
    context = tls.bare(verify=files.verify)
    if files.verify and files.ca:
        tls.trust_file(context, files.ca)
    elif files.verify:
        tls.trust_system(context)
    if files.certificate:
        tls.identify(context, files.certificate, files.key)
    return context


def signature(path: str) -> tuple[int, int, int] | None:
    """Return a value that changes with the file's content, without reading it; None if there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116  follows the symbolic links of a mounted secret, and is cheap
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
