"""What the API server sends is reduced to what is needed, and what Beacon can't go on from is refused."""

import pytest

from beacon import codec
from beacon.cluster import failures, items

METADATA = {
    "name": "a",
    "namespace": "ns",
    "uid": "u",
    "resourceVersion": "42",
    "labels": {"l": "1"},
    "annotations": {"k": "v"},
    "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}],
    "ownerReferences": [{"uid": "o"}],
}


def line(kind: str, **metadata: object) -> bytes:
    return codec.encode({"type": kind, "object": {"kind": "PartialObjectMetadata", "metadata": metadata}})


def test_a_line_is_reduced_to_its_metadata() -> None:
    parsed = items.line(line("ADDED", **METADATA))

    assert parsed.type == "ADDED"
    assert parsed.item == items.Item(
        uid="u", namespace="ns", name="a", resource_version="42", labels={"l": "1"}, annotations={"k": "v"}
    )
    assert parsed.item.version == 42


def test_whole_objects_are_read_as_well_whatever_their_other_fields_are() -> None:
    whole = {"type": "ADDED", "object": {"metadata": METADATA, "code": {"a": 1}, "message": [], "details": "x"}}

    assert items.line(codec.encode(whole)).item.uid == "u"


def test_a_bookmark_needs_no_identity() -> None:
    assert items.line(line("BOOKMARK", resourceVersion="7")).item.version == 7


@pytest.mark.parametrize(
    "data",
    [
        line("ADDED", **{**METADATA, "uid": ""}),
        line("ADDED", **{**METADATA, "resourceVersion": ""}),
        line("BOOKMARK"),
        line("CHANGED", **METADATA),
        line("ADDED", **{**METADATA, "labels": {"a": 1}}),
        b'{"object":{}}',
        b"[]",
    ],
)
def test_a_line_without_identity_or_of_another_form_is_malformed(data: bytes) -> None:
    with pytest.raises(failures.Malformed):
        items.line(data)


def test_a_line_that_is_not_json_is_a_broken_connection() -> None:
    with pytest.raises(failures.Broken):
        items.line(b'{"type":"ADD')


@pytest.mark.parametrize("version", ["abc", "1.5", "-1", "\u0661", "0x10"])
def test_a_resource_version_that_is_not_decimal_is_malformed_in_a_line(version: str) -> None:
    parsed = items.line(line("ADDED", **{**METADATA, "resourceVersion": version}))

    with pytest.raises(failures.Malformed):
        assert parsed.item.version


@pytest.mark.parametrize("version", ["", "abc", "0", "1:2"])
def test_a_list_whose_versions_are_not_decimal_makes_the_kind_unsuitable(version: str) -> None:
    with pytest.raises(failures.Unsuitable, match="decimal"):
        items.page(codec.encode({"metadata": {"resourceVersion": version}, "items": []}))


def test_a_page_has_its_position_its_items_and_the_way_to_the_next() -> None:
    body = {"metadata": {"resourceVersion": "9", "continue": "t"}, "items": [{"metadata": METADATA}]}

    page = items.page(codec.encode(body))

    assert (page.version, page.rest, [item.uid for item in page.items]) == (9, "t", ["u"])


def test_a_list_of_nothing_may_say_null() -> None:
    assert items.page(b'{"metadata":{"resourceVersion":"9"},"items":null}').items == []


def test_a_listed_object_without_identity_is_malformed() -> None:
    with pytest.raises(failures.Malformed):
        items.page(b'{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}}]}')


def test_an_error_line_is_the_status_in_it() -> None:
    status = {"kind": "Status", "metadata": {}, "message": "too old", "reason": "Expired", "code": 410}

    with pytest.raises(failures.Refused, match="too old") as caught:
        items.line(codec.encode({"type": "ERROR", "object": status}))

    assert (caught.value.status, caught.value.reason) == (410, "Expired")


def test_an_error_line_without_a_code_counts_as_trouble_of_the_server() -> None:
    with pytest.raises(failures.Refused) as caught:
        items.line(b'{"type":"ERROR","object":{"message":"hm"}}')

    assert caught.value.status == 500


def test_a_refusal_in_plain_text_keeps_its_words() -> None:
    refused = items.refusal(404, b"404 page not found\n")

    assert (refused.status, str(refused)) == (404, "404 page not found")


def test_the_delay_asked_for_comes_from_the_header_or_the_status() -> None:
    body = codec.encode({"message": "m", "details": {"retryAfterSeconds": 3}})

    assert items.refusal(429, body).delay_s == 3.0
    assert items.refusal(429, body, "7").delay_s == 7.0
    assert items.refusal(429, b"{}", "Wed, 21 Oct 2026 07:28:00 GMT").delay_s is None


def test_a_position_ahead_of_the_server_is_recognised() -> None:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    body = codec.encode(
        {"message": "Timeout: Too large resource version: 2, current: 1", "details": {"causes": causes}}
    )

    assert items.refusal(504, body).future
    assert not items.refusal(504, b"gateway timeout").future
