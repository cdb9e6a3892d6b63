"""The answer to one request, reduced to what may be stored: a code, a status and at most 512 clean bytes.

Pure. The text of an answer is untrusted: it may hold control characters or repeat the credentials of the request. This
module removes both.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from beacon.notifier.transport import masking

LONGEST_ERROR = 512  # bytes of UTF-8
_ENOUGH = 4 * LONGEST_ERROR  # characters, to fill an error after cleaning
_CUT = "…"
_UNCLEAN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")

NETWORK = "network"
TLS = "tls"
TIMEOUT = "timeout"
TOKEN = "token"  # noqa: S105  no token could be obtained
INTERNAL = "internal"  # a bug of Beacon, or memory that ran out


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAnswer:
    """One request and its result.

    `code` is the three-digit status, or `network`, `tls`, `timeout`, `token`, `internal`; `status` is 0 unless the
    answer was complete.
    """

    code: str
    status: int
    error: str = ""
    retry_after: str | None = None
    started_us: int = 0
    duration_s: float = 0.0
    request_id: str = ""
    date: str = ""  # of the endpoint's clock
    body: bytes = field(default=b"", repr=False)  # only of a token endpoint; never stored


def internal(error: Exception) -> EndpointAnswer:
    """Return the answer to a request that failed with an unexpected error, before or while it was sent."""
    return EndpointAnswer(code=INTERNAL, status=0, error=describe_internal(error), started_us=time.time_ns() // 1000)


def describe_internal(error: Exception) -> str:
    """Return the text for an unexpected error; its own text may contain anything."""
    return f"unexpected {type(error).__name__}, see the log"


def clean(text: str, *, secrets: Iterable[str]) -> str:
    """Return a text that may be stored: no control characters, no credentials, at most `LONGEST_ERROR` bytes.

    It is masked before it is cut, and again after cleaning, which may join a secret that control characters split.
    """
    secrets = tuple(secrets)
    text = masking.hide(text, secrets)[:_ENOUGH]
    return cut(masking.hide(_UNCLEAN.sub(" ", text).strip(), secrets))


def cut(text: str) -> str:
    """Cut a text to `LONGEST_ERROR` bytes of UTF-8, never inside a character, and mark the cut with an ellipsis."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LONGEST_ERROR:
        return data.decode("utf-8")
    return data[: LONGEST_ERROR - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT
