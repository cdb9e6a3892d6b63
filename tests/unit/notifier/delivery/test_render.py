import json
from dataclasses import replace

from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat

from beacon.domain import model
from beacon.notifier.delivery import render
from beacon.notifier.transport import request_template
from tests.unit.notifier import stores

NAMES = render.Names(source="/beacon", cluster="", type_prefix="net.bakerapps.beacon.resource")


def test_the_envelope_has_every_attribute_of_the_contract() -> None:
    delivery = stores.delivery(42, data='{"resource":{"uid":"u"}}')

    envelope = json.loads(render.envelope(delivery, NAMES, ledger="l-1"))

    assert envelope == {
        "specversion": "1.0",
        "id": "event-42",
        "source": "/beacon/default/Deployment",
        "type": "net.bakerapps.beacon.resource.created",
        "subject": "web",
        "time": "2023-11-14T22:13:20.000000Z",
        "datacontenttype": "application/json",
        "partitionkey": "apps/Deployment/default/web",
        "sequence": "00000000000000000042",
        "previous": "00000000000000000000",
        "ledgerid": "l-1",
        "data": {"resource": {"uid": "u"}},
    }


def test_the_official_sdk_accepts_the_envelope() -> None:
    body = render.envelope(stores.delivery(7, redelivered=True), NAMES, ledger="l-1")

    message = HTTPMessage(headers={"content-type": request_template.CONTENT_TYPE}, body=body)
    event = from_structured_event(message, JSONFormat())

    assert event.get_id() == "event-7"
    assert event.get_source() == "/beacon/default/Deployment"
    assert event.get_subject() == "web"
    assert event.get_extension("sequence") == "00000000000000000007"
    assert event.get_extension("redelivered") is True
    assert event.get_data() == {"resource": {}}


def test_only_redeliveries_and_out_of_order_events_are_marked() -> None:
    def marks(delivery: model.Delivery) -> dict[str, object]:
        sent = json.loads(render.envelope(delivery, NAMES, ledger="l"))
        return {name: sent[name] for name in ("redelivered", "outoforder") if name in sent}

    first, again = stores.delivery(1), stores.delivery(1, redelivered=True)
    assert marks(first) == {}
    assert marks(again) == {"redelivered": True}
    assert marks(replace(again, out_of_order=True)) == {"redelivered": True, "outoforder": True}


def test_a_cluster_scoped_object_has_no_empty_segment_in_its_source() -> None:
    delivery = stores.delivery(1, group="", kind="Namespace", namespace="")

    assert render.source(delivery, NAMES) == "/beacon/Namespace"
    assert render.partition_key(delivery) == "/Namespace//web"


def test_the_cluster_name_stands_between_source_and_namespace() -> None:
    names = render.Names(source="https://beacon.example/", cluster="eu west", type_prefix="t")

    assert render.source(stores.delivery(1), names) == "https://beacon.example/eu%20west/default/Deployment"


def test_the_core_group_is_an_empty_first_part_of_the_partition_key() -> None:
    assert render.partition_key(stores.delivery(1, group="", kind="ConfigMap")) == "/ConfigMap/default/web"


def test_data_is_sent_as_it_was_rendered_and_names_survive_in_any_script() -> None:
    text = '{"metadata": {"labels": {"größe":"大きい"}},  "n": 1.0}'

    body = render.envelope(stores.delivery(1, name="wéb", data=text), NAMES, ledger="l")

    assert text.encode() in body
    assert json.loads(body)["subject"] == "wéb"
