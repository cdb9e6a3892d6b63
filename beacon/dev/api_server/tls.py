"""A separate certificate authority for every embedded cluster, by trustme.

kubectl sends a bearer token only over TLS, so the embedded server needs it even on the loopback address.
"""

import ssl

import trustme


class ApiAuthority:
    """A certificate authority and the server certificate that it has issued."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.rotate(trustme.CA())

    def rotate(self, successor: trustme.CA) -> None:
        """Replace the authority; the new one issues a certificate for the next context."""
        self._authority = successor
        self._certificate = self._authority.issue_cert(self._host, "localhost", "kubernetes.default.svc")

    @property
    def pem(self) -> bytes:
        """Return the certificate that clients must trust."""
        return self._authority.cert_pem.bytes()

    def context(self) -> ssl.SSLContext:
        """Return the server's TLS context."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._certificate.configure_cert(context)
        return context
