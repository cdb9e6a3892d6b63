"""TLS contexts of a client, by one rule for the API server and the endpoint.

The context of the `ssl` module is taken as it is: the certificate's chain, its validity and the host's name are
checked. `ssl.create_default_context` and urllib3 add VERIFY_X509_STRICT on Python 3.13, which refuses the authorities
without key identifiers that older clusters have. Nothing here knows a connection or a configuration.
"""

import os
import ssl
from collections.abc import Callable
from pathlib import Path

from beacon import errors
from beacon.boundary import files


def bare(*, verify: bool = True) -> ssl.SSLContext:
    """Return a context without authorities; with `verify` False it accepts every certificate.

    A trusted authority need not be a root, as with kubectl and curl: an intermediate one ends the chain, too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def trust_system(context: ssl.SSLContext) -> None:
    """Add the authorities of the system; those of the certifi package where an image has none."""
    context.load_default_certs()
    if not context.cert_store_stats()["x509_ca"] and not _has_directory():
        import certifi  # noqa: PLC0415  seldom needed

        context.load_verify_locations(certifi.where())


def trust_file(context: ssl.SSLContext, path: str) -> None:
    """Add the authorities of a file.

    Raises:
        errors.TransientError: the file is missing, unreadable or not what it should be.
    """
    _load((path,), lambda: context.load_verify_locations(path))


def identify(context: ssl.SSLContext, certificate: str, key: str = "") -> None:
    """Present the certificate of a file; its key may be in the same file.

    Raises:
        errors.TransientError: a file is missing, unreadable or not what it should be.
    """
    # A password callback: without one OpenSSL would ask for the password of an encrypted key on the terminal.
    load = context.load_cert_chain
    _load((certificate, key), lambda: load(certificate, key or None, password=lambda: b""))


def identify_by(context: ssl.SSLContext, pem: bytes, name: str) -> None:
    """Present a certificate whose text is given together with its key's; it never reaches a disk.

    Raises:
        errors.TransientError: the text is not what it should be; the message calls it `name`.
    """
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}", password=lambda: b"")
    except (OSError, ValueError) as error:
        raise errors.TransientError(f"{name} can't be used for TLS: {_words(error)}") from error
    finally:
        os.close(fd)


def trust_text(context: ssl.SSLContext, pem: str, name: str) -> None:
    """Add authorities whose PEM text is given.

    Raises:
        errors.TransientError: the text is not what it should be; the message calls it `name`.
    """
    try:
        context.load_verify_locations(cadata=pem)
    except (OSError, ValueError) as error:
        raise errors.TransientError(f"{name} can't be used for TLS: {_words(error)}") from error


def _has_directory() -> bool:
    directory = ssl.get_default_verify_paths().capath
    return bool(directory and any(Path(directory).iterdir()))


def _load(paths: tuple[str, ...], load: Callable[[], None]) -> None:
    """Load files that OpenSSL opens itself; an empty path is none."""
    given = [path for path in paths if path]
    try:
        for path in given:
            files.check(path, most_bytes=files.CERTIFICATES_BYTES)
        load()
    except (OSError, ValueError) as error:
        raise errors.TransientError(f"{' with '.join(given)} can't be used for TLS: {_words(error)}") from error


def _words(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
