"""TLS contexts of a client, with the same verification for the API server and the endpoint.

The defaults of the `ssl` module apply: the certificate's chain, its validity and the host name are verified.
`ssl.create_default_context` and urllib3 add VERIFY_X509_STRICT on Python 3.13, which rejects authorities without key
identifiers, as older clusters have them. This module uses neither connections nor the configuration.
"""

import os
import ssl
from collections.abc import Callable
from pathlib import Path

from beacon import errors
from beacon.boundary import files


def bare(*, verify: bool = True) -> ssl.SSLContext:
    """Return a context without authorities; with `verify` False it accepts every certificate.

    As with kubectl and curl, a trusted authority may be an intermediate one instead of a root.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def trust_system(context: ssl.SSLContext) -> None:
    """Add the authorities of the system, or those of the certifi package if the system has none."""
    context.load_default_certs()
    if not context.cert_store_stats()["x509_ca"] and not _has_directory():
        import certifi  # noqa: PLC0415  rarely needed

        context.load_verify_locations(certifi.where())


def trust_file(context: ssl.SSLContext, path: str) -> None:
    """Add the authorities of a file.

    Raises:
        errors.TransientError: the file is missing, unreadable or invalid.
    """
    _load((path,), lambda: context.load_verify_locations(path))


def identify(context: ssl.SSLContext, certificate: str, key: str = "") -> None:
    """Present the certificate of a file; its key may be in the same file.

    Raises:
        errors.TransientError: a file is missing, unreadable or invalid.
    """
    # A password callback: without one OpenSSL would ask for the password of an encrypted key on the terminal.
    load = context.load_cert_chain
    _load((certificate, key), lambda: load(certificate, key or None, password=lambda: b""))


def identify_by(context: ssl.SSLContext, pem: bytes, name: str) -> None:
    """Present a certificate from the PEM text of it and its key, which is never written to a disk.

    Raises:
        errors.TransientError: the text is invalid; the message contains `name`.
    """
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}", password=lambda: b"")
    except (OSError, ValueError) as error:
        raise errors.TransientError(f"{name} can't be used for TLS: {_error_text(error)}") from error
    finally:
        os.close(fd)


def trust_text(context: ssl.SSLContext, pem: str, name: str) -> None:
    """Add the authorities of a PEM text.

    Raises:
        errors.TransientError: the text is invalid; the message contains `name`.
    """
    try:
        context.load_verify_locations(cadata=pem)
    except (OSError, ValueError) as error:
        raise errors.TransientError(f"{name} can't be used for TLS: {_error_text(error)}") from error


def _has_directory() -> bool:
    directory = ssl.get_default_verify_paths().capath
    return bool(directory and any(Path(directory).iterdir()))


def _load(paths: tuple[str, ...], load: Callable[[], None]) -> None:
    """Check files that OpenSSL opens by path, then load them; empty paths are ignored."""
    present = [path for path in paths if path]
    try:
        for path in present:
            files.check(path, most_bytes=files.CERTIFICATES_BYTES)
            files.check_unmarked(path)  # OpenSSL would skip the first certificate
        load()
    except (OSError, ValueError) as error:
        raise errors.TransientError(f"{' with '.join(present)} can't be used for TLS: {_error_text(error)}") from error


def _error_text(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
