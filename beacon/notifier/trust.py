"""Whom the channel trusts and as whom it appears: the TLS context, made anew when one of its files changes.

Reading a bundle of authorities takes tens of milliseconds, so one context serves all connections. A file that can't be
used when it changes leaves the context that works in place: half-written files are common while a secret is replaced.
"""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from requests import utils

from beacon import errors

_CHECK_EVERY_S = 1.0

Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where authorities, certificate and key lie; "" for the system's authorities, and for no client certificate."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True


class Trust:
    """Gives the TLS context that is in force."""

    def __init__(self, files: Files) -> None:
        """Watch the given files."""
        self._files = files
        self._paths = tuple(path for path in (files.ca, files.certificate, files.key) if path)
        self._signature: Signature | None = None
        self._checked_at = -_CHECK_EVERY_S

    def changed(self, now: float) -> ssl.SSLContext | None:
        """Give a new context when there is none yet or a file has changed; None when all is as before.

        Raises:
            errors.TransientError: a file can't be used; what was in force stays so. Said once per change.
        """
        if now - self._checked_at < _CHECK_EVERY_S:
            return None
        self._checked_at = now
        found = tuple(signature(path) for path in self._paths)
        if found == self._signature:
            return None
        self._signature = found
        return make_context(self._files)


def make_context(files: Files) -> ssl.SSLContext:
    """Make a TLS context from files.

    Raises:
        errors.TransientError: a file is missing, unreadable or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif files.ca:
        _load(files.ca, lambda: context.load_verify_locations(files.ca))
    else:
        _load_system(context)
    if files.certificate:
        key = files.key or None
        # A password callback: without one OpenSSL would ask for the password of an encrypted key on the terminal.
        what = f"{files.certificate} with {files.key}" if key else files.certificate
        _load(what, lambda: context.load_cert_chain(files.certificate, key, password=lambda: b""))
    return context


def signature(path: str) -> tuple[int, int, int] | None:
    """Tell a file's content from a former one without reading it; None when there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116  follows the symbolic links of a mounted secret, and is cheap
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _load_system(context: ssl.SSLContext) -> None:
    context.load_default_certs()
    if not context.cert_store_stats()["x509_ca"] and not _has_directory():
        context.load_verify_locations(
            utils.DEFAULT_CA_BUNDLE_PATH
        )  # a slim image without its distribution's authorities


def _has_directory() -> bool:
    directory = ssl.get_default_verify_paths().capath
    return bool(directory and os.listdir(directory))  # noqa: PTH208  a name is enough


def _load(path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise errors.TransientError(f"{path} can't be used for TLS: {why}") from error
