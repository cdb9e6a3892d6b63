"""Certificates without key identifiers, like those of older clusters, created by openssl without a library."""

import ssl
import subprocess
from pathlib import Path

from tests.gate import needs

_CONFIG = """
[req]
distinguished_name=dn
prompt=no
[dn]
CN=unused
[authority]
basicConstraints=critical,CA:TRUE
subjectKeyIdentifier=none
authorityKeyIdentifier=none
[server]
subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc
subjectKeyIdentifier=none
authorityKeyIdentifier=none
[elsewhere]
subjectAltName=DNS:elsewhere.example
subjectKeyIdentifier=none
authorityKeyIdentifier=none
"""


class Authority:
    """A certificate authority with its certificate in a file; a root unless it has an issuer."""

    def __init__(self, directory: Path, name: str, *, issuer: "Authority | None" = None) -> None:
        self._directory = directory
        self._name = name
        needs.require("openssl")
        (directory / "openssl.cnf").write_text(_CONFIG)
        self.file = self._issue(name, "authority", issuer or self)

    def certify(self, name: str, *, section: str = "server", days: int = 2) -> Path:
        """Create a certificate and return a file with the certificate, followed by its key."""
        return self._issue(name, section, self, days)

    def serving(self, name: str, *, section: str = "server", days: int = 2) -> ssl.SSLContext:
        """Return the context of a server with a new certificate."""
        return serving(self.certify(name, section=section, days=days))

    def _issue(self, name: str, section: str, issuer: "Authority", days: int = 2) -> Path:
        made = self._directory / name
        key, request, certificate = (made.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._openssl("req", "-new", *kind, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signer = ("-signkey", key)
        if issuer._name != name:
            signer = ("-CA", issuer.file, "-CAkey", issuer.file, "-CAcreateserial")  # type: ignore[assignment]
        self._openssl(
            *("x509", "-req", "-in", request, "-out", certificate, "-days", days, *signer),
            *("-extfile", self._directory / "openssl.cnf", "-extensions", section),
        )
        both = made.with_suffix(".pem")
        both.write_text(certificate.read_text() + key.read_text())
        return both

    def _openssl(self, command: str, *arguments: object) -> None:
        config = ("-config", self._directory / "openssl.cnf") if command == "req" else ()
        subprocess.run(
            ["openssl", command, *config, *map(str, arguments)],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
