"""The content of an event: its id, its data, its instants."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon import codec
from beacon.domain import model
from beacon.store.ledger import rendering
from tests.unit.store import world

NOW = rendering.Now(us=1_700_000_000_123_456, ns=9_000_000_000)


def frame(**changes: Any) -> rendering.RequestContext:
    values: dict[str, Any] = {
        "scope": world.scope_of(),
        "api_version": "v1",
        "epoch": 0,
        "cluster": "c",
        "ledger": "l",
        "endpoints": (1,),
        "updates": False,
        "now": NOW,
    }
    return rendering.RequestContext(**(values | changes))


def rendered(
    shown: model.Observation, source: model.Source = model.Source.WATCH, at_us: int = NOW.us, **changes: Any
) -> dict[str, Any]:
    text = rendering.data(frame(**changes), shown, model.Cause.OBJECT_CREATED, source, at_us)
    data: dict[str, Any] = codec.decode(text)
    return data


def test_an_id_is_the_uuid_5_of_what_names_the_change() -> None:
    shown = world.seen("a", 7)

    made = rendering.event_id(frame(), shown, model.EventType.CREATED)

    assert made == uuid.uuid5(rendering._NAMESPACE, "c/uid-a/7/created").bytes
    assert str(uuid.UUID(bytes=made)) == "6eb62df2-9734-5104-87ed-53eda14e3a30"  # for ever: receivers know it


@given(st.text(max_size=50))
def test_an_id_is_a_valid_uuid_whatever_the_object_is_called(uid: str) -> None:
    shown = world.seen("a", 7, uid=uid or "u")

    made = uuid.UUID(bytes=rendering.event_id(frame(), shown, model.EventType.CREATED))

    assert (made.version, made.variant) == (5, uuid.RFC_4122)
    assert made == uuid.uuid5(rendering._NAMESPACE, f"c/{uid or 'u'}/7/created")


def test_ids_differ_by_cluster_object_version_type_and_epoch() -> None:
    created = model.EventType.CREATED
    shown = world.seen("a", 7)
    ids = [
        rendering.event_id(frame(), shown, created),
        rendering.event_id(frame(cluster="d"), shown, created),
        rendering.event_id(frame(), world.seen("b", 7), created),
        rendering.event_id(frame(), world.seen("a", 8), created),
        rendering.event_id(frame(), shown, model.EventType.DELETED),
        rendering.event_id(frame(epoch=1), shown, created),
        rendering.event_id(frame(epoch=2), shown, created),
    ]

    assert len(set(ids)) == len(ids)


def test_an_id_does_not_depend_on_when_or_how_it_was_seen() -> None:
    one = rendering.event_id(frame(), world.seen("a", 7), model.EventType.CREATED)
    later = rendering.event_id(
        frame(now=rendering.Now(us=1, ns=1), since_us=5, api_version="v2"),
        world.seen("a", 7, model.ChangeKind.LISTED, value="x"),
        model.EventType.CREATED,
    )

    assert one == later


@pytest.mark.parametrize("letter", ["x", "é", "€", "\U0001f600"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_value_is_truncated_between_characters_at_4_kib_and_marked(letter: str, shift: int) -> None:
    value = "a" * shift + letter * 5000

    resource = rendered(world.seen("a", 7, value=value))["resource"]

    size = len(resource["annotationValue"].encode())
    assert value.startswith(resource["annotationValue"])
    assert 4096 - len(letter.encode()) < size <= 4096
    assert resource["annotationValueTruncated"] is True


@pytest.mark.parametrize("value", ["", "x" * 4096, "é" * 2048])
def test_a_value_that_fits_is_whole(value: str) -> None:
    resource = rendered(world.seen("a", 7, value=value))["resource"]

    assert resource["annotationValue"] == value
    assert "annotationValueTruncated" not in resource


def test_the_data_is_what_the_contract_names() -> None:
    assert rendered(world.seen("a", 7)) == {
        "resource": {
            "uid": "uid-a",
            "apiVersion": "v1",
            "type": "ConfigMap",
            "name": "a",
            "namespace": "ns",
            "annotationValue": "true",
        },
        "metadata": {"annotations": {}, "labels": {}, "resourceVersion": "7"},
        "detection": {
            "source": "watch",
            "cause": "object-created",
            "detectedAt": "2023-11-14T22:13:20.123456Z",
            "notBefore": "",
            "notAfter": "",
        },
    }


@pytest.mark.parametrize("since_us", [None, 1_600_000_000_000_000])
def test_what_a_list_finds_happened_within_the_gap(since_us: int | None) -> None:
    detection = rendered(world.seen("a", 7), model.Source.RECONCILIATION, since_us=since_us)["detection"]

    assert detection["notBefore"] == ("2020-09-13T12:26:40.000000Z" if since_us else "")
    assert detection["notAfter"] == detection["detectedAt"]


@pytest.mark.parametrize(
    ("received_ns", "before_us"),
    [(0, 0), (NOW.ns, 0), (NOW.ns - 5_000_000, 5000), (NOW.ns + 1, 0), (2**63 - 1, 0)],
)
def test_a_change_is_detected_when_its_line_arrived(received_ns: int, before_us: int) -> None:
    seen = model.Observation(
        uid="u",
        namespace="",
        name="n",
        resource_version=1,
        change=model.ChangeKind.ADDED,
        verdict=model.RuleVerdict.ACCEPTED,
        received_ns=received_ns,
    )

    assert rendering.detected_us(frame(), seen) == NOW.us - before_us
