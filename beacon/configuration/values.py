"""Parsers of single values. Pure; an invalid value raises ValueError with a message for the user.

The patterns are public because the JSON Schema for editors (`beacon.dev.reference`) uses them.
"""

import re
from urllib.parse import urlsplit

from beacon import errors
from beacon.boundary import proxies, secret

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL = r"[a-z0-9]([-_.a-zA-Z0-9]{0,61}[a-z0-9])?"
GROUP_KIND = r"[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?"
PATTERN = r"[!-.0-~]{1,253}"
STATUS = r"(?!408|425|429)[34][0-9]{2}"
PATH = r"/[A-Za-z0-9\-._~/]*"
HEADER_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
HEADER_VALUE = r"[\t\x20-\x7e\x80-\xff]*"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?|[0-9a-fA-F:.]+(%[A-Za-z0-9]+)?")
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "host", "content-length"}
)
RESERVED = HOP_BY_HOP | {"content-type", "x-beacon-event-id", "x-request-id"}  # and those with one of these beginnings:
RESERVED_BEGINNINGS = ("ce-", "webhook-")


def duration(text: str) -> float:
    """Parse a Go duration string (`1h30m`, `100ms`, `-1.5s`) to seconds. Source: Go's time.ParseDuration."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total, position = 0.0, 0
    while match := _PART.match(rest, position):
        total += float(match[1]) * _UNITS_S[match[2]]
        position = match.end()
    if not rest or position != len(rest):
        raise ValueError("must be a duration with units, such as 500ms, 30s or 1h30m")
    return sign * total


def format_duration(seconds: float) -> str:
    """Render seconds as a Go duration string."""
    nanos = round(seconds * 1e9)
    if nanos == 0:
        return "0s"
    text = ""
    for unit, size in (("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)):
        count, nanos = divmod(nanos, size)
        text += f"{count}{unit}" if count else ""
    for unit, size in (("ms", 1_000_000), ("us", 1000), ("ns", 1)):
        count, nanos = divmod(nanos, size)
        text += f"{count}{unit}" if count else ""
    return text


def size(text: str) -> int:
    """Parse a number of bytes with an optional suffix of Kubernetes quantities."""
    match = re.fullmatch(r"([0-9]{1,15})(k|M|G|T|Ki|Mi|Gi|Ti)?", text)
    if match is None:
        raise ValueError("must be a number of bytes such as 1048576, 32Mi or 1G")
    return int(match[1]) * _SIZES[match[2] or ""]


def url(text: str) -> str:
    """Check an http or https URL with a host, without user info and fragment.

    The error message does not quote the URL: it may contain a password.
    """
    if "@" in text.partition("?")[0]:
        raise ValueError("must not hold user info: put a token into ENDPOINT_AUTH_TOKEN or a header")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    is_host = host and _HOST.fullmatch(host) and _ends_with_host_or_port(parts.netloc)
    if parts.scheme not in ("http", "https") or port == 0 or not is_host:
        raise ValueError("must be an http or https URL with a host, such as https://billing.example.com/events")
    if parts.fragment or re.search(r"[^\x21-\x7e]", text):
        raise ValueError("must not hold a fragment, blanks, control or non-ASCII characters")
    return text


def _ends_with_host_or_port(authority: str) -> bool:
    """Return False if text follows an IPv6 address in brackets, which urlsplit ignores and urllib3 rejects."""
    behind = authority.rpartition("]")[2]
    return behind == authority or behind[:1] in ("", ":")


def proxy_url(text: str) -> str:
    """Check the URL of a proxy, with its scheme, and without user info, path, query and fragment.

    The error message does not quote the URL: it may contain a password.
    """
    if "@" in text:
        raise ValueError("must not hold user info: use username and passwordFile")
    try:
        parsed = proxies.parse(text, "")
    except errors.ConfigError as error:
        raise ValueError(f"is unusable{error.problems[0].partition(';')[0]}") from error
    scheme, separator, rest = text.partition("://")
    host = rest.removesuffix("/")
    is_host = _ends_with_host_or_port(host) and {*"/?#"}.isdisjoint(host) and host.isascii()
    if not separator or not is_host or text != text.strip():
        raise ValueError("must be the URL of a proxy such as http://proxy.example.com:3128, without a path")
    return text.replace(scheme, parsed.scheme, 1)


def path(text: str) -> str:
    """Check the path of a URL."""
    if not re.fullmatch(PATH, text):
        raise ValueError("must be a path that begins with a slash, such as /metrics")
    return text


def port(text: str) -> int:
    """Parse a TCP port; 0 is returned as 0 and means the default."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError("must be a port, 1 to 65535")
    return int(text)


def namespace(text: str) -> str:
    """Check the name of a namespace."""
    if not re.fullmatch(NAMESPACE, text):
        raise ValueError("must be a namespace's name: at most 63 of a-z, 0-9 and -")
    return text


def group_kind(text: str) -> str:
    """Check a kind with its API group."""
    if not re.fullmatch(GROUP_KIND, text):
        raise ValueError("must be a kind with its API group such as Deployment.apps, or Pod in the core group")
    return text


def pattern(text: str) -> str:
    """Check a shell pattern for the names of objects or of namespaces."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError("must be a shell pattern such as team-*: at most 253 visible ASCII characters without a slash")
    return text


def status(text: str) -> int:
    """Read an HTTP status that refuses an event for good: another one is retried or accepts the event."""
    if not re.fullmatch(STATUS, text):
        raise ValueError("must be an HTTP status from 300 to 499, but not 408, 425 or 429")
    return int(text)


def label(text: str) -> str:
    """Check a short name that may be a metric label."""
    if not re.fullmatch(LABEL, text):
        raise ValueError(
            "must be at most 63 letters, digits, -, _ or ., beginning and ending with a small letter or a digit"
        )
    return text


def header(name: str, value: str) -> None:
    """Check a header that Beacon may send."""
    if not re.fullmatch(HEADER_NAME, name):
        raise ValueError("is not a header's name")
    if name.lower() in HOP_BY_HOP:
        raise ValueError("belongs to the connection and can't be set")
    if not re.fullmatch(HEADER_VALUE, value) or value != value.strip():
        raise ValueError("has a value with line breaks, control characters or blanks around it")
    if value.rpartition(" ")[2] == secret.PLACEHOLDER:
        raise ValueError(f"contains `{secret.PLACEHOLDER}`, the placeholder of the examples, which is never sent")


def header_file(name: str, path: str) -> None:
    """Check a header whose value is in a file."""
    if not re.fullmatch(HEADER_NAME, name):
        raise ValueError("is not a header's name")
    if name.lower() in RESERVED or name.lower().startswith(RESERVED_BEGINNINGS):
        raise ValueError("is set by Beacon or belongs to the connection")
    if not path or "\0" in path:
        raise ValueError("needs the path of a file")
