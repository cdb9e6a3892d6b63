"""A kind is found among the resources that can be listed, and only in a discovery document."""

from typing import Any, cast

import pytest

from beacon import codec
from beacon.cluster import connection, discovery, failures, reviewing


class Server:
    """Answers each request with what it holds for the path: a document, bytes, or an error."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def get(self, path: str) -> bytes:
        answer = self.answers[path.strip("/").replace("/", "_").replace(".", "_")]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else codec.encode(answer)

    def post(self, _: str, __: object) -> bytes:
        return cast("bytes", self.answers["post"])


def entry(name: str, kind: str, *verbs: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "namespaced": True, "verbs": verbs}


def served(*entries: Any, version: str = "v1") -> dict[str, Any]:
    return {"kind": "APIResourceList", "groupVersion": version, "resources": entries}


def find(kind: str = "Thing", plural: str = "", **answers: Any) -> discovery.ServedResource:
    return discovery.find(cast("connection.Connection", Server(**answers)), "v1", kind, plural)


def test_an_entry_that_cannot_be_listed_does_not_hide_one_that_can() -> None:
    entries = [
        entry("things/status", "Thing", "list", "watch"),
        entry("createthings", "Thing", "create"),
        entry("getthings", "Thing", "get", "list"),
        entry("things", "Thing", "list", "watch", "get"),
        entry("otherthings", "Thing", "list", "watch"),
    ]

    found = find(api_v1=served(*entries))

    assert (found.plural, found.kind, found.api_version) == ("things", "Thing", "v1")


def test_a_kind_of_which_no_entry_can_be_listed_is_unsuitable() -> None:
    with pytest.raises(failures.Unsuitable, match="createthings"):
        find(api_v1=served(entry("createthings", "Thing", "create"), entry("getthings", "Thing", "get")))


def test_a_configured_plural_decides_the_resource() -> None:
    entries = [entry("things", "Thing", "list", "watch"), entry("otherthings", "Other", "list", "watch")]

    assert find(plural="otherthings", api_v1=served(*entries)).kind == "Other"


def test_a_kind_that_is_not_served_is_absent() -> None:
    with pytest.raises(failures.Absent):
        find(api_v1=served(entry("others", "Other", "list", "watch")))


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Status","status":"Failure"}',
        b'{"resources":[]}',
        b'{"kind":"APIResourceList","groupVersion":"v1"}',
        b'{"kind":"APIResourceList","groupVersion":"v1","resources":null}',
        b'{"kind":"APIResourceList","groupVersion":"v2","resources":[]}',
        b'{"kind":"APIGroupList","groupVersion":"v1","resources":[]}',
        b'{"kind":"APIResourceList","groupVersion":"v1","resources":[{"kind":7}]}',
        b'{"kind":"APIResourceList","x":' + b"[" * 5000,
        b'{"kind":"\xff"}',
        b"404 page not found",
        b"[]",
        b"null",
        b"",
    ],
)
def test_a_response_that_is_not_declared_as_discovery_is_malformed(body: bytes) -> None:
    with pytest.raises(failures.Malformed):
        find(api_v1=body)


ODD_ENTRIES: list[Any] = [
    7,
    None,
    [],
    {},
    {"name": 7, "kind": "Other"},
    {"name": "x"},
    {"name": "x", "kind": None},
    {"name": "x", "kind": "Other", "verbs": "list"},
    {"name": "x", "kind": "Other", "verbs": [1]},
    {"name": "x", "kind": "Other", "namespaced": "yes"},
    {"name": "things", "kind": "Thing", "namespaced": 1},
]


@pytest.mark.parametrize("plural", ["", "things"])
@pytest.mark.parametrize("odd", ODD_ENTRIES, ids=str)
def test_an_entry_that_cannot_be_read_hides_only_itself(odd: Any, plural: str) -> None:
    found = find(plural=plural, api_v1=served(odd, entry("things", "Thing", "list", "watch"), odd))

    assert (found.plural, found.kind, found.namespaced) == ("things", "Thing", True)
    assert found.unreadable.startswith("2 entries of v1 can't be read, such as ")
    assert not find(api_v1=served(entry("things", "Thing", "list", "watch"))).unreadable


def test_an_entry_nested_deeply_hides_no_other() -> None:
    body = codec.encode(served({"name": "deep", "kind": "ODD"}, entry("things", "Thing", "list", "watch")))

    assert find(api_v1=body.replace(b'"ODD"', b"[" * 5000 + b"]" * 5000)).plural == "things"


@pytest.mark.parametrize("odd", [7, {"name": "things"}, {"name": "things", "kind": "Thing", "verbs": 7}], ids=str)
def test_a_kind_whose_entry_cannot_be_read_is_not_absent(odd: Any) -> None:
    with pytest.raises(failures.Malformed, match="1 entry of v1 can't be read"):
        find(api_v1=served(odd, entry("others", "Other", "list", "watch"), entry("things", "Thing", "get")))


@pytest.mark.parametrize("odd", [{"name": "x", "kind": "X", "verbs": 7}, {"name": "things/x", "kind": 7}], ids=str)
def test_a_kind_is_absent_if_the_entries_that_cannot_be_read_are_of_others(odd: Any) -> None:
    with pytest.raises(failures.Absent):
        find(api_v1=served(odd, entry("others", "Other", "list", "watch")))


def test_a_document_of_unreadable_entries_is_refused_early() -> None:
    body = codec.encode(served()).replace(b"[]", b"[" + b"7," * 1001 + b"}")

    with pytest.raises(failures.Malformed, match="more than 1000 of its entries"):
        find(api_v1=body)


def test_an_aggregated_api_that_is_down_does_not_hide_the_others() -> None:
    down = failures.ApiRefused("no endpoints available", status=503)
    served_ = {**served(entry("things", "Thing", "list", "watch"), version="b.io/v1"), "apiVersion": "v1"}
    api = cast("connection.Connection", Server(apis_a_io_v1=down, apis_b_io_v1=served_))

    with pytest.raises(failures.ApiRefused):
        discovery.find(api, "a.io/v1", "Thing")
    assert discovery.find(api, "b.io/v1", "Thing").name == "things.b.io"


@pytest.mark.parametrize(("allowed", "said"), [("true", True), ("false", False)])
def test_a_review_returns_whether_the_right_is_granted(allowed: str, said: bool) -> None:
    api = Server(post=b'{"kind":"SelfSubjectAccessReview","status":{"allowed":%b}}' % allowed.encode())

    assert reviewing.allowed(cast("connection.Connection", api), "list", group="", resource="things") is said


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Status","status":"Failure"}',
        b'{"kind":"Status","status":{"allowed":true}}',
        b'{"kind":"SelfSubjectAccessReview"}',
        b'{"kind":"SelfSubjectAccessReview","status":{}}',
        b'{"kind":"SelfSubjectAccessReview","status":{"allowed":"yes"}}',
        b'{"status":{"allowed":true}}',
        b"[" * 5000,
        b"\xff",
        b"",
    ],
)
def test_a_response_that_is_not_declared_as_a_review_is_malformed(body: bytes) -> None:
    with pytest.raises(failures.Malformed):
        reviewing.allowed(cast("connection.Connection", Server(post=body)), "list", group="", resource="things")
