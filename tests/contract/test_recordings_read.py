"""Beacon reads the recordings of a real API server completely: no line is refused and no object is unreadable."""

from typing import Any

import pytest

from beacon import codec
from beacon.cluster import failures, items
from tests.contract.recordings import replay

Json = dict[str, Any]

EXCHANGES = [item for name in replay.FILES for item in replay.load(name)]


def is_list(item: Json) -> bool:
    body = item["response"].get("body")
    return isinstance(body, dict) and "items" in body and "resourceVersion" in body["metadata"]


LISTS = [item for item in EXCHANGES if is_list(item)]
WATCHES = [item for item in EXCHANGES if item["response"].get("lines")]


def kind_of(item: Json) -> str:
    path = item["request"]["path"].partition("?")[0]
    return "ConfigMap" if path.endswith("/configmaps") else ""


def namespace_of(item: Json) -> str:
    _, _, rest = item["request"]["path"].partition("/namespaces/")
    return str(rest.partition("/")[0])


@pytest.mark.parametrize("item", LISTS, ids=[item["name"] for item in LISTS])
def test_a_recorded_list_is_parsed(item: Json) -> None:
    body = item["response"]["body"]

    page = items.page(codec.encode(body), kind=kind_of(item), namespace=namespace_of(item))

    assert page.uids == tuple(entry["metadata"]["uid"] for entry in body["items"])
    assert page.unreadable == []


@pytest.mark.parametrize("item", WATCHES, ids=[item["name"] for item in WATCHES])
def test_a_recorded_watch_line_is_parsed(item: Json) -> None:
    for recorded in item["response"]["lines"]:
        data = codec.encode(recorded["event"])
        if recorded["event"]["type"] == "ERROR":
            with pytest.raises(failures.ApiRefused):
                items.line(data)
        else:
            line = items.line(data, kind=kind_of(item), namespace=namespace_of(item))
            assert (line.type, line.why) == (recorded["event"]["type"], "")


def test_the_recordings_contain_lists_and_watches() -> None:
    assert len(LISTS) >= 10
    assert len(WATCHES) >= 10
