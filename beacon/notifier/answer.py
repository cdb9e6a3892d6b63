"""What came back for one request, reduced to what may be kept: a code, a status and at most 512 clean bytes.

Pure. What an endpoint answers is a stranger's text: it may hold control characters, and it may repeat the credentials
that it was sent. Neither gets past this module.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from beacon.notifier import masking

LONGEST_ERROR = 512  # bytes of UTF-8
_ENOUGH = 4 * LONGEST_ERROR  # characters, to fill an error after cleaning
_CUT = "…"
_UNCLEAN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")

NETWORK = "network"
TLS = "tls"
TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAnswer:
    """One request and what came of it.

    `code` is the three-digit status, or `network`, `tls`, `timeout`; `status` is 0 unless the answer was complete.
    """

    code: str
    status: int
    error: str = ""
    retry_after: str | None = None
    started_us: int = 0
    duration_s: float = 0.0
    request_id: str = ""


def clean(text: str, *, secrets: Iterable[str]) -> str:
    """Make a text fit to be kept: no control characters, no credentials, at most `LONGEST_ERROR` bytes.

    It is masked before it is cut, and once more after cleaning, which may have joined what control characters split.
    """
    secrets = tuple(secrets)
    text = masking.hide(text, secrets)[:_ENOUGH]
    return cut(masking.hide(_UNCLEAN.sub(" ", text).strip(), secrets))


def cut(text: str) -> str:
    """Cut a text to `LONGEST_ERROR` bytes of UTF-8, never inside a character, and show that it was cut."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LONGEST_ERROR:
        return data.decode("utf-8")
    return data[: LONGEST_ERROR - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT
