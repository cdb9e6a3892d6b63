"""The API server's documents are reduced to the fields that Beacon needs, and invalid ones are rejected."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon import codec
from beacon.cluster import failures, framing, items

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


# Values of any form under the names that are read.
NAMES = st.sampled_from(
    ["type", "object", "kind", "metadata", "items", "uid", "name", "resourceVersion", "labels", "annotations", "code"]
)
ODD = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["ADDED", "ERROR", "ConfigMapList"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
)


def line(kind: str, **metadata: object) -> bytes:
    return codec.encode({"type": kind, "object": {"kind": "PartialObjectMetadata", "metadata": metadata}})


def listed(*entries: object, version: str = "49", rest: str = "") -> bytes:
    metadata = {"resourceVersion": version, "continue": rest}
    return codec.encode({"kind": "PartialObjectMetadataList", "metadata": metadata, "items": entries})


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
        line("ADDED", **{**METADATA, "resourceVersion": 7}),
        b'{"type":"BOOKMARK"}',
        b'{"type":"BOOKMARK","object":{}}',
        b'{"type":"BOOKMARK","object":null}',
        b'{"type":"ADDED"}',
        b'{"type":"ADDED","object":{"kind":"Status","metadata":{"uid":"u","name":"a","resourceVersion":"7"}}}',
        b'{"type":"DELETED","object":{"kind":"Table","metadata":{"uid":"u","name":"a","resourceVersion":"7"}}}',
        b'{"type":"MODIFIED","object":{"kind":"Secret","metadata":{"uid":"u","name":"a","resourceVersion":"7"}}}',
        line("ADDED", **{**METADATA, "namespace": "another"}),
        b'{"type":7,"object":{}}',
        b'{"object":{}}',
        b"[]",
    ],
)
def test_a_line_without_identity_or_of_another_form_is_malformed(data: bytes) -> None:
    with pytest.raises(failures.Malformed):
        items.line(data, kind="ConfigMap", namespace="ns")


def test_a_line_that_is_not_json_is_a_broken_connection() -> None:
    with pytest.raises(failures.Broken):
        items.line(b'{"type":"ADD')


@pytest.mark.parametrize("version", ["abc", "1.5", "-1", "\u0661", "0x10", str(2**63), "9" * 100, "9" * 5000])
def test_a_resource_version_that_is_not_decimal_is_malformed_in_a_line(version: str) -> None:
    parsed = items.line(line("ADDED", **{**METADATA, "resourceVersion": version}))

    with pytest.raises(failures.Malformed):
        assert parsed.item.version


@pytest.mark.parametrize("version", ["", "abc", "0", "1:2", "-5", str(2**63), "9" * 100, "9" * 5000])
def test_a_list_whose_versions_are_not_decimal_makes_the_kind_unsuitable(version: str) -> None:
    with pytest.raises(failures.Unsuitable, match="decimal"):
        items.page(listed(version=version))


def test_a_page_has_its_position_its_items_and_the_way_to_the_next() -> None:
    page = items.page(listed({"metadata": METADATA}, rest="t"))

    assert (page.version, page.rest, [item.uid for item in page.items]) == (49, "t", ["u"])


def test_an_error_line_is_the_status_in_it() -> None:
    status = {"kind": "Status", "metadata": {}, "message": "too old", "reason": "Expired", "code": 410}

    with pytest.raises(failures.ApiRefused, match="too old") as caught:
        items.line(codec.encode({"type": "ERROR", "object": status}))

    assert (caught.value.status, caught.value.reason) == (410, "Expired")


def test_an_error_line_without_a_code_counts_as_trouble_of_the_server() -> None:
    with pytest.raises(failures.ApiRefused) as caught:
        items.line(b'{"type":"ERROR","object":{"message":"hm"}}')

    assert caught.value.status == 500


@pytest.mark.parametrize("code", [0, -1, 200, 99999, 10**30])
def test_an_error_line_with_a_code_that_is_no_error_counts_as_trouble_of_the_server(code: int) -> None:
    with pytest.raises((failures.ApiRefused, failures.Malformed)) as caught:
        items.line(b'{"type":"ERROR","object":{"message":"hm","code":%d}}' % code)

    assert getattr(caught.value, "status", 500) == 500


@pytest.mark.parametrize(
    "status",
    [
        b'{"message":"\xff"}',
        b"[" * 5000,
        b'{"message":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"message":7}',
        b"null",
    ],
)
def test_an_error_line_that_cannot_be_read_is_malformed(status: bytes) -> None:
    with pytest.raises(failures.Malformed):
        items.line(b'{"type":"ERROR","object":' + status + b"}")


NO_LISTS = {
    "a status": {"kind": "Status", "metadata": {"resourceVersion": "50"}, "status": "Failure"},
    "a status with items": {"kind": "Status", "metadata": {"resourceVersion": "50"}, "items": []},
    "a single object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {**METADATA}},
    "a table": {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "50"}, "rows": []},
    "a table with items": {"kind": "Table", "metadata": {"resourceVersion": "50"}, "items": []},
    "a list of another kind": {
        "kind": "SecretList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "50"},
        "items": [],
    },
    "a list of another version": {
        "kind": "ConfigMapList",
        "apiVersion": "v2",
        "metadata": {"resourceVersion": "50"},
        "items": [],
    },
    "a list of metadata of another version": {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "50"},
        "items": [],
    },
    "a list of lists": {"kind": "List", "metadata": {"resourceVersion": "50"}, "items": []},
    "no kind": {"metadata": {"resourceVersion": "50"}, "items": []},
    "no items": {"kind": "ConfigMapList", "metadata": {"resourceVersion": "50"}},
    "null items": {"kind": "ConfigMapList", "metadata": {"resourceVersion": "50"}, "items": None},
    "items that are an object": {"kind": "ConfigMapList", "metadata": {"resourceVersion": "50"}, "items": {}},
    "items that are text": {"kind": "ConfigMapList", "metadata": {"resourceVersion": "50"}, "items": ""},
    "no metadata": {"kind": "ConfigMapList", "items": []},
    "null metadata": {"kind": "ConfigMapList", "metadata": None, "items": []},
    "a part without the way to the rest": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50", "remainingItemCount": 3},
        "items": [],
    },
    "an item of another kind": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50"},
        "items": [{"kind": "Secret", "metadata": METADATA}],
    },
    "an item of another namespace": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50"},
        "items": [{"metadata": {**METADATA, "namespace": "another"}}],
    },
    "an item twice": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50"},
        "items": [{"metadata": METADATA}, {"metadata": METADATA}],
    },
    "a list with a status": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50"},
        "items": [],
        "status": "Failure",
    },
    "a list with a token that is no text": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50", "continue": 5},
        "items": [],
    },
    "a list whose remaining number is text": {
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "50", "remainingItemCount": "5"},
        "items": [],
    },
    "an array": [],
    "nothing": None,
}


@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS.keys())
def test_a_response_that_is_not_declared_as_the_requested_list_is_refused(body: object) -> None:
    with pytest.raises(failures.Malformed):
        items.page(codec.encode(body), kind="ConfigMap", api_version="v1", namespace="ns")


ONE = b'{"metadata":{"uid":"u","name":"a","namespace":"ns","resourceVersion":"42"}}'
ODD_ONE = b'{"metadata":{"uid":"o","name":"o","namespace":"ns","resourceVersion":"42","labels":7}}'
LIST = b'{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"50"},"items":[ONE]}'
REPEATED = {
    "items": LIST[:-1] + b',"items":[]}',
    "items, escaped": LIST[:-1] + b',"\\u0069tems":[]}',
    "items before": b'{"items":[ONE],' + LIST[1:],
    "null items before": b'{"items":null,' + LIST[1:],
    "items that are an object": LIST[:-1] + b',"items":{"items":[]}}',
    "metadata": LIST[:-1] + b',"metadata":{"resourceVersion":"51"}}',
    "metadata before": b'{"metadata":{"resourceVersion":"50","continue":"x"},' + LIST[1:],
    "continue": LIST.replace(b'"50"}', b'"50","continue":"x","continue":""}'),
    "resourceVersion": LIST.replace(b'"50"}', b'"50","resourceVersion":"51"}'),
    "remainingItemCount": LIST.replace(b'"50"}', b'"50","remainingItemCount":3,"remainingItemCount":0}'),
    "kind": LIST[:-1] + b',"kind":"ConfigMapList"}',
    "apiVersion": b'{"apiVersion":"v2",' + LIST[1:],
    "status": LIST[:-1] + b',"status":"Failure","status":null}',
}


@pytest.mark.parametrize("one", [ONE, ODD_ONE], ids=["readable", "unreadable"])
@pytest.mark.parametrize("body", REPEATED.values(), ids=REPEATED.keys())
def test_a_list_with_two_values_of_a_key_that_counts_is_refused(body: bytes, one: bytes) -> None:
    with pytest.raises(failures.Malformed, match="twice"):
        items.page(body.replace(b"ONE", one), kind="ConfigMap", api_version="v1", namespace="ns")


LAYOUTS = {
    "a real server's": LIST,
    "keys in order": b'{"apiVersion":"v1","items":[ONE],"kind":"ConfigMapList","metadata":{"resourceVersion":"50"}}\n',
    "blanks": b' { "kind" : "ConfigMapList" , "metadata" : { "resourceVersion" : "50" } , "items" :\n[ ONE ] } \n',
    "arrays around": b'{"x":["items"],"y":{"items":[1]},' + LIST[1:-1] + b',"z":[[],{"items":[]}],"z":1}',
    "text of a key in a value": b'{"x":"\\"items\\":[",' + LIST[1:-1] + b',"z":"]"}',
    "null fields": LIST[:-1] + b',"status":null,"x":null}',
    "no more objects": LIST.replace(b'"50"}', b'"50","continue":"","remainingItemCount":0,"selfLink":"/"}'),
}


@pytest.mark.parametrize(("one", "readable"), [(ONE, True), (ODD_ONE, False)], ids=["readable", "unreadable"])
@pytest.mark.parametrize("body", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_list_is_read_in_any_layout(body: bytes, one: bytes, readable: bool) -> None:
    page = items.page(body.replace(b"ONE", one), kind="ConfigMap", api_version="v1", namespace="ns")

    assert (page.version, page.rest) == (50, "")
    assert ([item.uid for item in page.items], len(page.unreadable)) == ((["u"], 0) if readable else ([], 1))


@pytest.mark.parametrize("remaining", [-1, 1, 10**30])
def test_a_remaining_number_needs_a_token(remaining: int) -> None:
    for one in (ONE, ODD_ONE):
        body = LIST.replace(b"ONE", one).replace(b'"50"}', b'"50","remainingItemCount":%d}' % remaining)
        with pytest.raises(failures.Malformed, match="part of a list"):
            items.page(body)


SMALLEST = b'{"metadata":{"uid":"","name":"","resourceVersion":""}}'


@pytest.mark.parametrize("first", [b"", ODD_ONE + b","], ids=["alone", "after an odd one"])
@pytest.mark.parametrize(
    "one", [b"{}", b"[]", b"7", b"null", b'{"metadata":{}}', b'{"metadata":{"uid":7}}', SMALLEST, b"[[],{}]"]
)
def test_a_page_with_more_than_10000_unreadable_objects_is_refused(one: bytes, first: bytes) -> None:
    allowed = items.page(LIST.replace(b"ONE", first + b",".join([one] * 9_999)))
    with pytest.raises(failures.Malformed, match="more than 10000 unreadable objects"):
        items.page(LIST.replace(b"ONE", first + b",".join([one] * 10_001)))

    assert len(allowed.unreadable) == 9_999 + bool(first)


def test_a_page_is_refused_before_the_rest_of_it_is_parsed() -> None:
    # The rest is no JSON, which is not noticed.
    for one in (b"{}", b"[]", b"7"):
        with pytest.raises(failures.Malformed, match="unreadable objects"):
            items.page(LIST.replace(b"ONE]}", b",".join([one] * 10_001) + b",}"))


UNUSABLE = {"too long": "u" * 1_000_000, "254": "u" * 254, "a NUL": "u\0x"}


@pytest.mark.parametrize("annotations", [{"k": "v"}, {"k": 1}], ids=["otherwise readable", "otherwise unreadable"])
@pytest.mark.parametrize("uid", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_uid_that_no_object_can_have_is_not_used(uid: str, annotations: dict[str, object]) -> None:
    odd = {**METADATA, "uid": uid, "annotations": annotations}

    page = items.page(listed({"metadata": odd}, {"metadata": {**METADATA, "uid": "other"}}))
    lines = [items.line(line(kind, **odd)) for kind in ("ADDED", "MODIFIED", "DELETED")]

    assert (page.uids, page.versions, page.identified) == (("other",), (42,), False)
    assert [one.name for one in page.unreadable] == ["ns/a"]
    assert [(one.item.uid, one.item.name, bool(one.why)) for one in lines] == [("", "a", True)] * 3
    with pytest.raises(failures.Malformed):
        items.object_uid(codec.encode({"metadata": odd}))


@pytest.mark.parametrize("field", ["name", "namespace"])
def test_an_object_with_a_nul_in_its_name_is_unreadable(field: str) -> None:
    page = items.page(listed({"metadata": {**METADATA, field: "a\0b"}}))

    assert [(one.item.uid, one.why) for one in page.unreadable] == [("u", "its UID, name or namespace contains a NUL")]


LINE = b'{"type":"ADDED","object":' + ONE + b"}"
REPEATED_IN_LINE = {
    "object": LINE[:-1] + b',"object":{}}',
    "object, escaped": LINE[:-1] + b',"\\u006fbject":{}}',
    "type": LINE[:-1] + b',"type":"DELETED"}',
    "type before": b'{"type":"DELETED",' + LINE[1:],
    "object of another order": b'{"object":{},' + LINE[1:],
    "of an error": b'{"type":"ERROR","type":"ADDED","object":{}}',
}


@pytest.mark.parametrize("of", [bytes, framing.Cut], ids=["whole", "cut"])
@pytest.mark.parametrize("one", [ONE, ODD_ONE], ids=["readable", "unreadable"])
@pytest.mark.parametrize("body", REPEATED_IN_LINE.values(), ids=REPEATED_IN_LINE.keys())
def test_a_line_with_two_types_or_objects_is_refused(body: bytes, one: bytes, of: type[bytes]) -> None:
    with pytest.raises(failures.Malformed, match="twice"):
        items.line(of(body.replace(ONE, one)))


@pytest.mark.parametrize(
    "body",
    [
        LINE,
        b' {"type" : "ADDED", "object" : ' + ONE + b"} ",
        b'{"object":' + ONE + b',"type":"ADDED"}',
        b'{"type":"ADDED","object":' + ONE + b',"x":[]}',
        b'{"x":1,"x":2,"type":"ADDED","object":' + ONE + b"}",
    ],
)
@pytest.mark.parametrize("one", [ONE, ODD_ONE], ids=["readable", "unreadable"])
def test_a_line_is_read_in_any_layout(body: bytes, one: bytes) -> None:
    read = items.line(body.replace(ONE, one), namespace="ns")

    assert (read.type, read.item.version, bool(read.why)) == ("ADDED", 42, one is ODD_ONE)


@pytest.mark.parametrize(
    "head",
    [
        {"kind": "ConfigMapList", "apiVersion": "v1"},
        {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"},
        {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1beta1"},
    ],
)
@pytest.mark.parametrize("item", [{}, {"kind": "PartialObjectMetadata"}, {"kind": "ConfigMap"}])
def test_a_list_is_of_metadata_or_of_the_kind_itself(head: dict[str, str], item: dict[str, str]) -> None:
    body = {**head, "metadata": {"resourceVersion": "50"}, "items": [{**item, "metadata": METADATA}]}

    page = items.page(codec.encode(body), kind="ConfigMap", api_version="v1", namespace="ns")

    assert [one.uid for one in page.items] == ["u"]


# 200 levels are read by any parser, 990 by none that has some frames of its own, the others by none that recurses.
@pytest.mark.parametrize("depth", [200, 990, 2000, 100_000])
@pytest.mark.parametrize("nesting", [(b'{"f:x":', b"}"), (b"[", b"]")])
def test_an_object_nested_deeply_is_read_like_any_other(depth: int, nesting: tuple[bytes, bytes]) -> None:
    deep = nesting[0] * depth + b"1" + nesting[1] * depth
    known = codec.encode(METADATA)[1:-1]
    deep_object = b'{"metadata":{"managedFields":' + deep + b"," + known + b'},"spec":' + deep + b"}"
    other = codec.encode({"metadata": {**METADATA, "uid": "other"}})
    head = b'{"kind":"ConfigMapList","metadata":{"resourceVersion":"90"},"x":' + deep + b',"items":['

    page = items.page(head + deep_object + b"," + other + b"]}", kind="ConfigMap", namespace="ns")
    line = items.line(b'{"type":"MODIFIED","object":' + deep_object + b"}", kind="ConfigMap", namespace="ns")

    assert [(one.uid, one.name, one.labels, one.annotations) for one in (*page.items, line.item)] == [
        ("u", "a", {"l": "1"}, {"k": "v"}),
        ("other", "a", {"l": "1"}, {"k": "v"}),
        ("u", "a", {"l": "1"}, {"k": "v"}),
    ]
    assert (page.unreadable, line.why) == ([], "")
    assert items.object_uid(deep_object) == "u"


FLAWS: dict[str, dict[str, object]] = {
    "annotations": {"annotations": {"k": 1}},
    "labels": {"labels": []},
    "name": {"name": None},
    "namespace": {"namespace": 7},
    "resourceVersion": {"resourceVersion": ["7"]},
    "-1": {"resourceVersion": "-1"},
    "99999": {"resourceVersion": "9" * 5000},
    "name or": {"name": ""},
    "more than 253": {"name": "a" * 254},
    "later": {"resourceVersion": "51"},
}


@pytest.mark.parametrize(("why", "flaw"), FLAWS.items(), ids=FLAWS.keys())
def test_an_object_that_cannot_be_read_is_named_and_hides_no_other(why: str, flaw: dict[str, object]) -> None:
    flawed = {"metadata": {**METADATA, **flaw}}

    page = items.page(listed(flawed, {"metadata": {**METADATA, "uid": "other"}}, version="50"), namespace="ns")

    assert [one.uid for one in page.items] == ["other"]
    assert [(one.item.uid, why in one.why) for one in page.unreadable] == [("u", True)]
    # Its UID is listed, so it is not taken for gone, at a version that contradicts nothing.
    assert (page.uids, page.versions, page.identified) == (("other", "u"), (42, 50), True)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"namespace": "a", "name": "b\u202e\x1b[31m\n"}, "a/b??[31m?"),
        ({"name": "b"}, "b"),
        ({"uid": "u"}, "an object without a name (UID u)"),
        ({}, "an object without a name (UID unknown)"),
    ],
)
def test_an_unreadable_object_has_a_name_that_a_terminal_can_show(metadata: dict[str, str], name: str) -> None:
    (one,) = items.page(listed({"metadata": metadata})).unreadable

    assert one.name == name


@pytest.mark.parametrize("odd", [b'"\\ud800"', b'"\xff"', b'"\x00"', b'"\\q"', b"7"])
def test_a_text_that_is_none_concerns_its_object_alone(odd: bytes) -> None:
    flawed = codec.encode({"metadata": {**METADATA, "annotations": {"k": "ODD"}}}).replace(b'"ODD"', odd)
    other = codec.encode({"metadata": {**METADATA, "uid": "other"}})

    page = items.page(listed("FLAWED", "OTHER").replace(b'"FLAWED"', flawed).replace(b'"OTHER"', other))
    line = items.line(b'{"type":"MODIFIED","object":' + flawed + b"}")

    assert [one.uid for one in page.items] == ["other"]
    assert [one.item.uid for one in page.unreadable] == [line.item.uid] == ["u"]
    assert line.why == "its annotations can't be read"


@pytest.mark.parametrize("rest", [b"x", b"{}", b"]", b'{"items":[]}'])
def test_bytes_after_a_list_or_a_line_make_it_invalid(rest: bytes) -> None:
    deep = b"[" * 5000 + b"]" * 5000
    body = listed("DEEP").replace(b'"DEEP"', b'{"metadata":{"uid":"u","x":' + deep + b"}}")

    for data in (listed(), body):
        with pytest.raises(failures.Malformed):
            items.page(data + rest)
    with pytest.raises((failures.Malformed, failures.Broken)):
        items.line(line("ADDED", **METADATA) + rest)


def test_text_that_is_not_utf_8_concerns_its_object_alone() -> None:
    data = listed({"metadata": {**METADATA, "annotations": {"k": "QQ"}}}, {"metadata": {**METADATA, "uid": "other"}})

    page = items.page(data.replace(b"QQ", b"\xff\xfe"))

    assert [one.uid for one in page.items] == ["other"]
    assert [one.item.uid for one in page.unreadable] == ["u"]


@pytest.mark.parametrize("entry", [None, {}, {"metadata": None}, {"metadata": {**METADATA, "uid": 7}}, 7, []])
def test_a_list_with_an_object_without_uid_proves_nothing_about_other_uids(entry: object) -> None:
    page = items.page(listed(entry, {"metadata": {**METADATA, "uid": "other"}}))

    assert page.uids == ("other",)
    assert not page.identified


def test_of_a_line_that_was_cut_identity_and_position_are_known() -> None:
    cut = framing.Cut(line("ADDED", **METADATA)[:-60])

    parsed = items.line(cut, kind="ConfigMap")

    assert (parsed.item.uid, parsed.item.name, parsed.item.version) == ("u", "a", 42)
    assert "larger" in parsed.why


def test_a_line_that_was_cut_before_its_position_is_malformed() -> None:
    with pytest.raises(failures.Malformed):
        items.line(framing.Cut(b'{"type":"ADDED","object":{"metadata":{"annotations":{"k":"' + b"x" * 1000))


@pytest.mark.parametrize("body", [b'{"kind":"Status","metadata":{"uid":"u"}}', b"{}", b"[]", b'{"metadata":{"uid":7}}'])
def test_a_response_that_is_not_the_requested_object_has_no_uid(body: bytes) -> None:
    with pytest.raises(failures.Malformed):
        items.object_uid(body, kind="Namespace")


@given(st.binary(max_size=200) | ODD.map(json.dumps).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    for read in (items.line, items.page, items.object_uid):
        with contextlib.suppress(failures.Malformed, failures.Broken, failures.Unsuitable, failures.ApiRefused):
            read(data)
