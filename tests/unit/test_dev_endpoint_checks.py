import json
from typing import Any

import pytest

from beacon.dev.endpoint import checks
from tests.unit import endpoint_events as sent

HEAD = {b"content-type": b"application/cloudevents+json; charset=UTF-8"}


def refused(document: Any, **demands: Any) -> str:
    found = checks.read(json.dumps(document).encode(), checks.Demands(**demands))
    assert isinstance(found, checks.CheckRefusal), found
    assert found.status == 400
    return found.reason


def test_an_event_as_the_contract_shows_it_is_read() -> None:
    found = checks.read(sent.body("web", 42, previous=17), checks.Demands())

    assert isinstance(found, checks.CheckedEnvelope)
    assert (found.kind, found.namespace, found.name, found.value) == ("ConfigMap", "shop", "web", "gold")
    assert (found.key, found.sequence, found.previous, found.ledger) == ("/ConfigMap/shop/web", 42, 17, "ledger-1")
    assert not found.redelivered


@pytest.mark.parametrize(
    ("method", "headers", "demands", "status"),
    [
        ("GET", HEAD, {}, 405),
        ("PUT", HEAD, {}, 405),
        ("POST", {}, {}, 415),
        ("POST", {b"content-type": b"application/json"}, {}, 415),
        ("POST", {b"content-type": b"application/cloudevents-batch+json"}, {}, 415),
        ("POST", {b"content-type": b"application/cloudevents+json; charset=latin-1"}, {}, 415),
        ("POST", HEAD, {"token": "secret"}, 401),
        ("POST", {**HEAD, b"authorization": b"Bearer other"}, {"token": "secret"}, 401),
        ("POST", HEAD, {"required_headers": (("X-Team", ""),)}, 400),
        ("POST", {**HEAD, b"x-team": b"b"}, {"required_headers": (("X-Team", "a"),)}, 400),
    ],
)
def test_a_wrong_head_is_refused(method: str, headers: dict[bytes, bytes], demands: Any, status: int) -> None:
    found = checks.refuse_head(method, headers, checks.Demands(**demands))

    assert found is not None
    assert found.status == status


@pytest.mark.parametrize(
    ("method", "headers", "demands"),
    [
        ("POST", HEAD, {}),
        ("PATCH", HEAD, {"methods": ("PUT", "PATCH")}),
        ("POST", {b"content-type": b'Application/CloudEvents+JSON;charset="utf-8"'}, {}),
        ("POST", {b"content-type": b"application/cloudevents+json"}, {}),
        ("POST", {**HEAD, b"authorization": b"Bearer secret"}, {"token": "secret"}),
        ("POST", {**HEAD, b"x-team": b"a"}, {"required_headers": (("X-Team", "a"),)}),
        ("POST", {}, {"shape": checks.Shape.ANY}),
    ],
)
def test_a_valid_head_passes(method: str, headers: dict[bytes, bytes], demands: Any) -> None:
    assert checks.refuse_head(method, headers, checks.Demands(**demands)) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    for shape in checks.Shape:
        found = checks.read(body, checks.Demands(shape=shape))

        assert isinstance(found, checks.CheckRefusal)
        assert found.status == 400


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_each_required_attribute_is_missed(name: str) -> None:
    for value in (None, "", 7):
        document = sent.document("web", 1) | {name: value}

        assert name in refused(document)
        assert name in refused(document, shape=checks.Shape.CLOUDEVENT)


@pytest.mark.parametrize(
    "time", ["", "now", "2026-02-31T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "20260101T000000Z", 5]
)
def test_a_time_that_is_not_rfc_3339_is_refused(time: Any) -> None:
    assert "time" in refused(sent.document("web", 1) | {"time": time}, shape=checks.Shape.CLOUDEVENT)


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00Z", "2026-01-01t00:00:00.123456789+05:30"])
def test_every_form_of_rfc_3339_is_read(time: str) -> None:
    assert checks.problems(sent.document("web", 1) | {"time": time}, checks.Shape.BEACON) == []


@pytest.mark.parametrize("name", ["Upper", "with_underscore", "with-dash", ""])
def test_an_extension_with_a_forbidden_name_is_refused(name: str) -> None:
    assert "attribute name" in refused(sent.document("web", 1) | {name: "x"}, shape=checks.Shape.CLOUDEVENT)


@pytest.mark.parametrize("value", [1.5, [], {}, 2**31])
def test_an_extension_with_a_forbidden_value_is_refused(value: Any) -> None:
    assert "ext must be" in refused(sent.document("web", 1) | {"ext": value}, shape=checks.Shape.CLOUDEVENT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sequence",), "42"),
        (("sequence",), 42),
        (("previous",), None),
        (("partitionkey",), ""),
        (("ledgerid",), None),
        (("subject",), None),
        (("datacontenttype",), "text/plain"),
        (("type",), "net.bakerapps.beacon.resource.touched"),
        (("redelivered",), "yes"),
        (("source",), "/a b"),
        (("data",), None),
        (("data", "resource"), []),
        (("data", "resource", "uid"), ""),
        (("data", "resource", "namespace"), None),
        (("data", "metadata", "labels"), {"a": 1}),
        (("data", "metadata", "annotations"), None),
        (("data", "metadata", "resourceVersion"), 12),
        (("data", "metadata", "resourceVersion"), ""),
        (("data", "detection", "source"), "guess"),
        (("data", "detection", "cause"), None),
        (("data", "detection", "detectedAt"), ""),
        (("data", "detection", "notBefore"), "yesterday"),
    ],
)
def test_each_departure_from_beacons_form_is_named(path: tuple[str, ...], value: Any) -> None:
    document = sent.document("web", 1)
    inner = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value

    assert path[-1] in refused(document)


def test_all_problems_of_a_body_are_named_at_once() -> None:
    document = sent.document("web", 1)
    del document["id"], document["sequence"], document["data"]["resource"]["uid"]

    reason = refused(document)

    assert all(part in reason for part in ("id must", "sequence must", "data.resource.uid"))


def test_shape_any_requires_only_an_id() -> None:
    assert isinstance(checks.read(b'{"id":"a"}', checks.Demands(shape=checks.Shape.ANY)), checks.CheckedEnvelope)
    assert "id" in refused({}, shape=checks.Shape.ANY)
