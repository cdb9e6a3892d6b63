"""The error for invalid TLS files names the file."""

from pathlib import Path

import pytest
import trustme

from beacon import errors
from beacon.notifier.transport import tls_context


def test_a_missing_key_is_named_and_not_the_certificate_alone(tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    trustme.CA().issue_cert("beacon").cert_chain_pems[0].write_to_path(str(certificate))

    with pytest.raises(errors.TransientError, match=rf"{tmp_path}/tls.crt with {tmp_path}/tls.key can't be used"):
        tls_context.make_context(tls_context.TlsFiles(certificate=str(certificate), key=str(tmp_path / "tls.key")))
