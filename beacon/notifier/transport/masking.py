"""Masks secrets of a request, in every form in which an answer may repeat them.

Pure. An endpoint or proxy may repeat a secret unchanged, percent-encoded, as the base64 of user and password, decoded
from it, or escaped in JSON, HTML or an exception. A text is masked before it is cut; the start of a secret at the end
of a text that was cut earlier is masked, too.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
_AUTHORITY_END = re.compile("[/?#]")
_ESCAPE = re.compile("%[0-9A-F]{2}")
_SHORTEST = 4  # masking shorter ones would blank out most texts, and they protect nothing


def forms(values: Iterable[str]) -> tuple[str, ...]:
    """Return every form of the given secrets that must be masked.

    For `Scheme credentials`: the whole value and the credentials; for basic credentials also the password.
    """
    plain: set[str] = set()
    for value in values:
        plain.update((value, value.strip(), *value.split()[1:]))
    for value in tuple(plain):
        plain.update(_of_basic(value))
    found = {form for value in plain for form in _written(value)}
    return tuple(form for form in found if len(form) >= _SHORTEST)


def of_request(url: str, headers: Mapping[str, str], proxies: Iterable[str]) -> tuple[str, ...]:
    """Return the forms of all secrets of a request except its token.

    They are the values of headers and of the query, user info, and the credentials of proxies.
    """
    users = [part for one in (url, *proxies) for part in _of_user(one)]
    return forms([*headers.values(), *_of_query(url), *users])


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret masked, and the start of a secret at its end."""
    secrets = sorted(secrets, key=len, reverse=True)  # a secret may contain another
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = text.rstrip("\ufffd")  # from a character that was cut
    starts = [start for secret in secrets if (start := _begun(text, secret)) >= 0]
    return text[: min(starts)] + HIDDEN if starts else text


def _begun(text: str, secret: str) -> int:
    """Return the position of a secret that the end of the text cuts off, -1 if there is none."""
    start = text.find(secret[:_SHORTEST], max(0, len(text) - len(secret) + 1))
    while start >= 0 and not secret.startswith(text[start:]):
        start = text.find(secret[:_SHORTEST], start + 1)
    return start


def _of_query(url: str) -> Iterable[str]:
    for part in url.partition("?")[2].partition("#")[0].split("&"):
        value = part.partition("=")[2]
        value = value if value.strip("=") else part  # base64 without a name, with its padding
        yield from (value, unquote(value), unquote_plus(value))


def _of_user(url: str) -> Iterable[str]:
    """Return the secrets in a URL's user info: the pair, its base64 as sent, and the password (or a lone user)."""
    _, slashes, rest = url.partition("//")
    info, at, _ = _AUTHORITY_END.split(rest if slashes else url, maxsplit=1)[0].rpartition("@")
    if not at:
        return
    user, _, password = info.partition(":")
    yield from (info, unquote(info), password or user, unquote(password or user))
    pair = f"{unquote(user)}:{unquote(password)}"
    yield pair
    for encoding in ("utf-8", "latin-1"):
        yield base64.b64encode(pair.encode(encoding, "ignore")).decode("ascii")


def _of_basic(value: str) -> Iterable[str]:
    """Return the pair and the password, if the value is the base64 of user and password."""
    try:
        pair = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return
    _, colon, password = pair.partition(":")
    if colon and pair.isprintable():
        yield from (pair, password)


def _written(value: str) -> Iterable[str]:
    """Return the encodings of a secret: other charsets, percent-encoded, escaped."""
    data = value.encode("utf-8", "surrogatepass")
    quoted = (quote(data), quote(data, safe=""), quote_plus(data))
    yield from (value, data.decode("latin-1"), *quoted, *(_ESCAPE.sub(_lower, one) for one in quoted))
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], html.escape(value))
    yield from (repr(value)[1:-1], repr(data)[2:-1])


def _lower(found: re.Match[str]) -> str:
    return found[0].lower()
