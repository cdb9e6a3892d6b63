"""A list is of one resourceVersion or it is none."""

from typing import Any, cast

import pytest

from beacon import codec
from beacon.cluster import connection, discovery, failures, listing

CONFIGMAPS = discovery.Resource(group="", version="v1", plural="configmaps", namespaced=True)


class Pages:
    """Answers with one page after the other and remembers what was asked."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.left = [codec.encode(page) for page in pages]
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, path: str, *, query: connection.Query, accept: str) -> bytes:
        assert accept == connection.METADATA_LIST
        self.asked.append((path, dict(query)))
        return self.left.pop(0)


def page(version: str, rest: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, "continue": rest}, "items": []}


def read(pages: Pages, namespace: str = "") -> list[int]:
    api = cast("connection.Connection", pages)
    return [one.version for one in listing.pages(api, CONFIGMAPS, namespace, limit=7)]


def test_pages_follow_the_tokens_and_ask_for_no_version() -> None:
    pages = Pages(page("5", "one"), page("5", "two"), page("5"))

    assert read(pages, "a") == [5, 5, 5]
    assert pages.asked == [
        ("/api/v1/namespaces/a/configmaps", {"limit": "7"}),
        ("/api/v1/namespaces/a/configmaps", {"limit": "7", "continue": "one"}),
        ("/api/v1/namespaces/a/configmaps", {"limit": "7", "continue": "two"}),
    ]


def test_pages_of_different_versions_are_no_list() -> None:
    with pytest.raises(failures.Malformed, match="from resourceVersion 5 to 6"):
        read(Pages(page("5", "one"), page("6")))
