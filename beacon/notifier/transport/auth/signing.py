"""Signs requests as Standard Webhooks 1.0 does, with every secret: a receiver accepts any that it knows.

Pure.
"""

import base64
import hmac
from collections.abc import Iterable


def header_lines(keys: Iterable[bytes], event_id: str, now_s: int, body: bytes) -> bytes:
    """Return the three header lines of a request that is sent at `now_s`, in seconds since 1970."""
    identity = event_id.encode()
    signed = b"%b.%d.%b" % (identity, now_s, body)
    signatures = b" ".join(b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys)
    return b"webhook-id: %b\r\nwebhook-timestamp: %d\r\nwebhook-signature: %b\r\n" % (identity, now_s, signatures)
