"""What came back for one request, reduced to what may be kept: a code, a status and at most 512 clean bytes.

Pure. What an endpoint answers is a stranger's text: it may hold control characters, and it may repeat the credentials
that it was sent. Neither gets past this module.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_ERROR = 512  # bytes of UTF-8
_CUT = "…"
_UNCLEAN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")
_SHORTEST_SECRET = 4  # hiding shorter ones would blank out half of every text, and they protect nothing
_HIDDEN = "***"

NETWORK = "network"
TLS = "tls"
TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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
    """Make a text fit to be kept: no control characters, no credentials, at most `LONGEST_ERROR` bytes."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return cut(_UNCLEAN.sub(" ", text).strip())


def cut(text: str) -> str:
    """Cut a text to `LONGEST_ERROR` bytes of UTF-8, never inside a character, and show that it was cut."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LONGEST_ERROR:
        return data.decode("utf-8")
    return data[: LONGEST_ERROR - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def secrets_of(values: Iterable[str]) -> tuple[str, ...]:
    """List the texts to hide: each value, and for `Scheme credentials` the credentials alone; longest first."""
    found: set[str] = set()
    for value in values:
        found.update((value.strip(), *value.split()[1:]))
    return tuple(sorted((text for text in found if len(text) >= _SHORTEST_SECRET), key=len, reverse=True))
