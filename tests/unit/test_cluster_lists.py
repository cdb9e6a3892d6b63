"""A list has one resourceVersion, or it is rejected."""

from typing import Any, cast

import pytest

from beacon import codec
from beacon.cluster import connection, discovery, failures, items, lists

CONFIGMAPS = discovery.ServedResource(group="", version="v1", plural="configmaps", namespaced=True, kind="ConfigMap")


class Pages:
    """Answers with one page after the other and remembers what was asked."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.left = [codec.encode(page) for page in pages]
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, path: str, *, query: connection.Query, accept: str, most: int) -> bytes:
        assert accept == connection.METADATA_LIST
        self.asked.append((path, dict(query)))
        data = self.left.pop(0)
        if len(data) > most:
            raise failures.TooBig(f"more than {most}")
        return data


class Collection:
    """Answers as an API server with so many objects of so many bytes, however many of them are asked for at a time."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes
        self.limits: list[int] = []

    def get(self, _: str, *, query: connection.Query, accept: str, most: int) -> bytes:
        assert accept == connection.METADATA_LIST
        asked = dict(query)
        begin, limit = int(asked.get("continue", "0")), int(asked["limit"])
        self.limits.append(limit)
        chosen = list(enumerate(self.sizes))[begin : begin + limit]
        rest = str(begin + limit) if begin + limit < len(self.sizes) else ""
        data = codec.encode(page("5", rest, *(entry(str(number), x="x" * size) for number, size in chosen)))
        if len(data) > most:
            raise failures.TooBig(f"more than {most}")
        return data


def page(version: str, rest: str = "", *entries: dict[str, Any]) -> dict[str, Any]:
    metadata = {"resourceVersion": version, "continue": rest}
    return {"kind": "PartialObjectMetadataList", "metadata": metadata, "items": entries}


def entry(uid: str, **annotations: str) -> dict[str, Any]:
    metadata = {"uid": uid, "name": "n", "namespace": "a", "resourceVersion": "3", "annotations": annotations}
    return {"metadata": metadata}


def read(pages: Pages | Collection, namespace: str = "", *, limit: int = 7) -> list[items.ListPageItems]:
    api = cast("connection.Connection", pages)
    return list(lists.pages(api, CONFIGMAPS, namespace, limit=limit))


def uids(pages: list[items.ListPageItems]) -> list[str]:
    return [uid for page in pages for uid in page.uids]


def test_pages_follow_the_tokens_and_ask_for_no_version() -> None:
    pages = Pages(page("5", "one"), page("5", "two"), page("5"))

    assert [one.version for one in read(pages, "a")] == [5, 5, 5]
    assert pages.asked == [
        ("/api/v1/namespaces/a/configmaps", {"limit": "7"}),
        ("/api/v1/namespaces/a/configmaps", {"limit": "7", "continue": "one"}),
        ("/api/v1/namespaces/a/configmaps", {"limit": "7", "continue": "two"}),
    ]


def test_pages_of_different_versions_are_no_list() -> None:
    with pytest.raises(failures.Malformed, match="from resourceVersion 5 to 6"):
        read(Pages(page("5", "one"), page("6")))


@pytest.mark.parametrize(
    "again",
    [
        [page("5", "one"), page("5", "one")],
        [page("5", "one", entry("u")), page("5", "two", entry("u"))],
        [page("5", "one", entry("u")), page("5", "two", entry("v")), page("5", "three", entry("u"))],
    ],
)
def test_pages_that_come_again_are_no_list(again: list[dict[str, Any]]) -> None:
    with pytest.raises(failures.Malformed, match=r"twice|repeats an earlier"):
        read(Pages(*again, page("5")))


def test_a_list_of_empty_pages_ends() -> None:
    with pytest.raises(failures.Malformed, match="empty pages"):
        read(Pages(*(page("5", str(number)) for number in range(200))))


def test_a_page_that_is_too_large_is_requested_again_in_smaller_ones() -> None:
    big = Collection(*[250_000] * 40)

    pages = read(big, limit=500)

    assert uids(pages) == [str(number) for number in range(40)]
    assert max(len(one.items) for one in pages) * 250_000 <= connection.MOST
    assert big.limits[:4] == [500, 125, 31, 7]


def test_pages_grow_again_where_objects_are_small() -> None:
    mixed = Collection(*[2_000_000] * 4, *[10] * 2000)

    pages = read(mixed, limit=500)

    assert len(uids(pages)) == 2004
    assert mixed.limits[-1] == 500


def test_an_object_alone_on_its_page_may_be_as_large_as_any_is() -> None:
    assert uids(read(Collection(10, 15_000_000, 10), limit=500)) == ["0", "1", "2"]


def test_a_list_that_never_ends_is_abandoned() -> None:
    with pytest.raises(failures.TooBig):
        read(Collection(17_000_000), limit=500)


KNOWN = [str(number) for number in range(6)]


def test_a_list_that_shows_none_of_many_known_objects_is_believed_if_a_second_one_agrees() -> None:
    witness = lists.Witness(KNOWN)
    witness.see(items.ListPageItems(version=9, items=[], rest=""))
    again = Pages(page("9"))

    witness.confirm(lambda: iter(read(again)))

    assert len(again.asked) == 1


def test_a_list_that_a_second_one_contradicts_is_not_believed() -> None:
    witness = lists.Witness(KNOWN)
    witness.see(items.ListPageItems(version=9, items=[], rest=""))

    with pytest.raises(failures.Malformed, match="none of the 6 tracked objects"):
        witness.confirm(lambda: iter(read(Pages(page("9", "t", entry("x")), page("9", "", entry("4"))))))


@pytest.mark.parametrize(("known", "shown"), [(KNOWN, "3"), (KNOWN[:5], "x"), ([], "x")])
def test_no_second_list_is_read_where_little_would_go(known: list[str], shown: str) -> None:
    witness = lists.Witness(known)
    witness.see(items.ListPageItems(version=9, items=[items.Item(uid=shown)], rest=""))

    witness.confirm(lambda: pytest.fail("it was read again"))
