"""TLS for the test endpoint: certificates from files, or from an authority made on the spot by trustme.

With a client authority the endpoint refuses every client that shows no certificate of it.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFiles:
    """Where certificates are read from; `client_ca` empty: clients need none."""

    cert: str
    key: str
    client_ca: str = ""

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises OSError, of which `ssl.SSLError` is one."""
        context = _context()
        context.load_cert_chain(self.cert, self.key)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class SinkAuthority:
    """A certificate authority with a server certificate and one for a client."""

    def __init__(self, host: str, *, mutual: bool) -> None:
        self._authority = trustme.CA()
        self._server = self._authority.issue_cert(host, "localhost")
        self._client = self._authority.issue_cert("beacon@example.com")
        self._mutual = mutual

    @property
    def pem(self) -> bytes:
        """Return the certificate that clients must trust."""
        return self._authority.cert_pem.bytes()

    def context(self) -> ssl.SSLContext:
        """Return what the server needs to speak TLS."""
        context = _context()
        self._server.configure_cert(context)
        if self._mutual:
            self._authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def write(self, directory: Path) -> "Written":
        """Write what a client needs: the authority, and a certificate with its key."""
        paths = Written.within(directory)
        paths.ca.write_bytes(self.pem)
        paths.cert.write_bytes(b"".join(blob.bytes() for blob in self._client.cert_chain_pems))
        paths.key.write_bytes(self._client.private_key_pem.bytes())
        return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Files for a client."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def within(cls, directory: Path) -> Self:
        """Name the files in a directory."""
        return cls(ca=directory / "ca.pem", cert=directory / "client.pem", key=directory / "client.key")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    return context
