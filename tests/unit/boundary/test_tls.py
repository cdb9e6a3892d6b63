"""A file of certificates that OpenSSL would read only in part is refused with the reason."""

import codecs
from pathlib import Path

import pytest
import trustme

from beacon import errors
from beacon.boundary import tls

MARKS = [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE]


@pytest.mark.parametrize("mark", MARKS, ids=["UTF-8", "UTF-16 LE", "UTF-16 BE"])
def test_a_byte_order_mark_is_named_instead_of_hiding_the_first_certificate(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "ca.crt"
    authorities = [trustme.CA().cert_pem.bytes(), trustme.CA().cert_pem.bytes()]
    path.write_bytes(mark + b"".join(authorities))
    context = tls.bare()

    with pytest.raises(errors.TransientError, match=r"ca.crt can't be used for TLS: .*byte order mark"):
        tls.trust_file(context, str(path))

    path.write_bytes(b"".join(authorities))
    tls.trust_file(context, str(path))
    assert context.cert_store_stats()["x509_ca"] == 2


@pytest.mark.parametrize("marked", ["cert", "key"])
def test_a_byte_order_mark_in_a_certificate_or_a_key_is_named(tmp_path: Path, marked: str) -> None:
    issued = trustme.CA().issue_cert("localhost")
    files = {"cert": issued.cert_chain_pems[0].bytes(), "key": issued.private_key_pem.bytes()}
    for name, pem in files.items():
        (tmp_path / name).write_bytes(codecs.BOM_UTF8 * (name == marked) + pem)

    with pytest.raises(errors.TransientError, match="byte order mark"):
        tls.identify(tls.bare(), str(tmp_path / "cert"), str(tmp_path / "key"))
