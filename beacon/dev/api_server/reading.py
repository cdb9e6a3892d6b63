"""Get and list: one object, or a page of objects at one resourceVersion.

A continue token contains the resourceVersion of the list's first page, so all pages show the same state. This module
must not wait: it refuses a list at a future resourceVersion at once, where a real server waits three seconds.
"""

import base64
import binascii
import bisect
import json
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from beacon.dev.api_server import kinds, routing, selectors, service, state, status

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """The requested part of a list."""

    version: int
    limit: int
    start: str = ""
    inconsistent: bool = False


def get(cluster: service.ApiService, kind: kinds.ServedKind, info: routing.Info, form: routing.PathForm) -> bytes:
    """Return one object in the requested form."""
    key = (info.namespace if kind.namespaced else "", info.name)
    return rendered(cluster.life.read(kind, key), kind, form)


def rendered(stored: state.Stored, kind: kinds.ServedKind, form: routing.PathForm) -> bytes:
    """Return an object's bytes in a form."""
    return stored.forms.full(kind.api_version) if form is routing.PathForm.FULL else stored.forms.metadata()


def list_page(
    cluster: service.ApiService,
    kind: kinds.ServedKind,
    info: routing.Info,
    query: Mapping[str, str],
    form: routing.PathForm,
) -> bytes:
    """Return one page of a list, or the complete list."""
    predicate = matching(kind, info, query)
    with cluster.state.lock:
        page = _page(cluster.state, kind, info, query)
        found = cluster.state.objects_at(kind.storage, page.version)
        if found is None:
            raise _expired(query)
    begin, end = _range(found, kind, info)
    if page.start:
        begin = bisect.bisect_left(found, page.start, lo=begin, hi=end, key=_path)
    items, at = _take(found, begin, end, page.limit, predicate)
    metadata: status.Json = {"resourceVersion": str(page.version)}
    if at < end:
        metadata["continue"] = _token(page.version, _relative(found[at - 1], kind, info))
        if predicate is None:
            metadata["remainingItemCount"] = end - at
    return render(kind, metadata, items, form)


def matching(kind: kinds.ServedKind, info: routing.Info, query: Mapping[str, str]) -> selectors.Predicate | None:
    """Return a predicate for the selectors of a request and the name in its path; None if everything matches."""
    named = f"metadata.name={info.name}" if info.name else ""
    asked = ",".join(filter(None, [query.get("fieldSelector", ""), named]))
    by_label = selectors.labels(query.get("labelSelector", ""))
    by_field = selectors.fields(asked, kind.fields)
    if by_label and by_field:
        return lambda obj: by_label(obj) and by_field(obj)
    return by_label or by_field


def position(text: str) -> int:
    """Parse a resourceVersion. Raises the real server's error if it is not a number."""
    if not text.isascii() or not text.isdigit():
        raise status.bad_position(text)
    return int(text)


def number(query: Mapping[str, str], name: str) -> int:
    """Return a number from a query; 0 if it is missing. Raises 400."""
    text = query.get(name) or "0"
    if not text.isascii() or not text.isdigit():
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def within(found: list[state.Stored], kind: kinds.ServedKind, info: routing.Info) -> list[state.Stored]:
    """Return the part of a sorted list that belongs to the requested namespace."""
    begin, end = _range(found, kind, info)
    return found[begin:end]


def _range(found: list[state.Stored], kind: kinds.ServedKind, info: routing.Info) -> tuple[int, int]:
    if not kind.namespaced or not info.namespace:
        return 0, len(found)
    begin = bisect.bisect_left(found, f"{info.namespace}/", key=_path)
    return begin, bisect.bisect_left(found, f"{info.namespace}0", lo=begin, key=_path)  # "0" follows "/"


def _take(
    found: list[state.Stored], begin: int, end: int, limit: int, predicate: selectors.Predicate | None
) -> tuple[list[state.Stored], int]:
    """Return up to `limit` matching objects and where the next page begins."""
    if predicate is None:
        at = min(end, begin + limit) if limit else end
        return found[begin:at], at
    items: list[state.Stored] = []
    for at in range(begin, end):
        if predicate(found[at].obj):
            if limit and len(items) == limit:
                return items, at
            items.append(found[at])
    return items, end


def _page(store: state.ClusterState, kind: kinds.ServedKind, info: routing.Info, query: Mapping[str, str]) -> ReadPage:
    asked, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    limit = number(query, "limit")
    if token := query.get("continue"):
        if asked not in {"", "0"}:
            raise status.bad_request("specifying resource version is not allowed when using continue")
        return _continued(store, kind, info, token, limit)
    _check_match(asked, match)
    version = position(asked) if asked else 0
    if version > store.version:
        raise status.future_position(version, store.version)
    if asked == "0":
        return ReadPage(version=store.version, limit=0)  # served from the watch cache, without pages
    exact = match == "Exact" or (version and limit and not match)
    return ReadPage(version=version if exact else store.version, limit=limit)


def _check_match(asked: str, match: str) -> None:
    problem = ""
    if match and not asked:
        problem = "resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif match == "Exact" and asked == "0":
        problem = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
    elif match not in {"", "Exact", "NotOlderThan"}:
        problem = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
    if problem:
        raise status.invalid("meta.k8s.io", "ListOptions", "", "resourceVersionMatch", f"Forbidden: {problem}")


def _continued(
    store: state.ClusterState, kind: kinds.ServedKind, info: routing.Info, token: str, limit: int
) -> ReadPage:
    version, start = _read_token(token)
    scoped = bool(info.namespace) or not kind.namespaced
    whole = (info.namespace if kind.namespaced else "") + start if scoped else start[1:]
    if version < 0:
        return ReadPage(version=store.version, limit=limit, start=whole, inconsistent=True)
    if version > store.version:
        raise status.future_position(version, store.version)
    return ReadPage(version=version, limit=limit, start=whole)


def _expired(query: Mapping[str, str]) -> status.ApiError:
    if not query.get("continue"):
        return status.expired("The resourceVersion for the provided list is too old.")
    _, start = _read_token(query["continue"])
    return status.expired(status.CONTINUATION_EXPIRED, token=_token(-1, start.removesuffix("\0")))


def _token(version: int, last: str) -> str:
    text = json.dumps({"v": _TOKEN_VERSION, "rv": version, "start": f"{last}\0"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    prefix = "invalid continue token: continue key is not valid: "
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")
    except (binascii.Error, ValueError) as error:
        raise status.bad_request(f"{prefix}illegal base64 data at input byte 0") from error
    try:
        parts = json.loads(text)
    except ValueError as error:
        shown = json.dumps(text[:1])[1:-1]
        raise status.bad_request(f"{prefix}invalid character '{shown}' looking for beginning of value") from error
    if not isinstance(parts, dict) or parts.get("v") != _TOKEN_VERSION or not parts.get("start"):
        raise status.bad_request(f"{prefix}server does not recognize this encoded version")
    return int(parts["rv"]), str(parts["start"])


def _relative(stored: state.Stored, kind: kinds.ServedKind, info: routing.Info) -> str:
    """Return an object's key relative to the listed path, as continue tokens contain it."""
    return f"/{stored.path}" if kind.namespaced and not info.namespace else f"/{stored.key[1]}"


def render(kind: kinds.ServedKind, metadata: status.Json, items: list[state.Stored], form: routing.PathForm) -> bytes:
    """Return a list's bytes."""
    if form is not routing.PathForm.FULL:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        parts = [stored.forms.metadata() for stored in items]
    else:
        head = {"kind": kind.list_kind, "apiVersion": kind.api_version}
        parts = [stored.forms.full(kind.api_version) if kind.custom else stored.forms.item() for stored in items]
    # The items are bytes already; only the head is serialized here.
    return orjson.dumps({**head, "metadata": metadata})[:-1] + b',"items":[' + b",".join(parts) + b"]}"


def _path(stored: state.Stored) -> str:
    return stored.path
