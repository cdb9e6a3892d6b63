"""A comparison does not accept a list that would delete everything before a second list agrees."""

import time
from typing import Any, cast

import pytest

from beacon import bus, codec, wire
from beacon.cluster import connection, failures
from beacon.domain import rules
from beacon.reconciler import comparison

KNOWN = tuple(f"u{number}" for number in range(6))
SERVED = {
    "kind": "APIResourceList",
    "groupVersion": "v1",
    "resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["list", "watch"]}],
}


class Server:
    """Answers lists in turn, each of one page."""

    def __init__(self, *lists: list[Any]) -> None:
        self.lists = [*lists]

    def get(self, path: str, **_: Any) -> bytes:
        if path == "/api/v1":
            return codec.encode(SERVED)
        if path.endswith("/kube-system"):
            return codec.encode({"kind": "Namespace", "metadata": {"uid": "cluster"}})
        head = {"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "9"}}
        return codec.encode({**head, "items": [{"metadata": entry} for entry in self.lists.pop(0)]})


class Store:
    """Has reached every position, and remembers what it was sent."""

    def __init__(self) -> None:
        self.asked: list[wire.AnyRequest] = []

    def renew(self) -> None:
        pass

    def call(self, request: wire.AnyRequest) -> wire.Compared:
        self.asked.append(request)
        return wire.Compared(place=wire.ApplyResult.APPLIED, reached=True, tracked=KNOWN)


def entry(uid: str, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "name": uid, "namespace": "a", "resourceVersion": "3", **more}


def compare(*lists: list[Any]) -> Store:
    (scope,) = rules.scopes([rules.Entry(api_version="v1", kind="ConfigMap")], annotation="k", values=None)
    store = Store()
    deps = comparison.ComparisonDependencies(
        api=cast("connection.Connection", Server(*lists)), link=cast("bus.Link", store), wait=lambda _: None
    )
    comparison.Comparison(scope, deps, until=time.monotonic() + 60).run()
    return store


def ends(store: Store) -> list[wire.CompareEnd]:
    return [request for request in store.asked if isinstance(request, wire.CompareEnd)]


def test_an_empty_list_that_a_second_one_contradicts_is_not_compared_with() -> None:
    with pytest.raises(failures.Malformed, match="none of the 6 tracked objects"):
        compare([], [entry("u2")])


def test_an_empty_list_counts_when_a_second_one_is_empty_as_well() -> None:
    (end,) = ends(compare([entry("x")], [entry("x")]))

    assert (end.count, end.identified) == (1, True)


def test_unreadable_objects_are_listed_at_the_lists_version() -> None:
    store = compare([entry("u1", annotations={"k": 7}), entry("u2")])

    (page,) = (request for request in store.asked if isinstance(request, wire.ComparePage))
    assert (page.uids, page.versions) == (("u2", "u1"), (3, 9))
    assert [seen.uid for seen in page.observations] == ["u2"]


def test_an_object_without_a_uid_is_passed_on_as_a_doubt() -> None:
    (end,) = ends(compare([{"name": "x"}, entry("u2")]))

    assert (end.count, end.identified) == (1, False)
