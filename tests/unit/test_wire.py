"""Every message survives the wire, and whatever else arrives is refused in words."""

from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from beacon import codec, wire

st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
REQUESTS = st.one_of(*(st.from_type(request) for request in (verb.request for verb in wire.VERBS.values())))

WELCOMES = st.dictionaries(st.text(max_size=5), st.booleans()).map(lambda plain: wire.HelloReply(settings=plain))


@given(REQUESTS, st.text(max_size=40))
def test_a_request_survives_the_wire(request: wire.AnyRequest, ledger: str) -> None:
    encodable(request)

    assert wire.decode_request(wire.encode_request(request, ledger=ledger)) == (request, ledger)


@given(REQUESTS, st.data())
def test_a_reply_survives_the_wire(request: wire.AnyRequest, data: st.DataObject) -> None:
    kind = wire.VERBS[wire.verb_of(request)].reply
    reply = data.draw(WELCOMES if kind is wire.HelloReply else st.from_type(kind))
    encodable(reply)

    envelope = wire.decode_reply(wire.encode_reply(reply, ledger="l", settings="s"))

    assert (envelope.ledger, envelope.settings, envelope.refused) == ("l", "s", None)
    assert wire.reply_body(envelope, request) == reply


def test_a_refusal_survives_the_wire() -> None:
    refused = wire.Refused(code=wire.Refusal.FULL, message="no room")

    assert wire.decode_reply(wire.encode_reply(refused)).refused == refused


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError, match=r"\S"):
        wire.decode_request(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*wire.VERBS, "nothing"]), JSON)
def test_a_wrong_body_is_refused_and_nothing_else_is_raised(verb: str, body: Any) -> None:
    try:
        request, _ = wire.decode_request(codec.encode({"v": wire.VERSION, "verb": verb, "body": body}))
    except wire.ProtocolError:
        return
    assert wire.verb_of(request) == verb


def test_another_version_is_refused() -> None:
    with pytest.raises(wire.ProtocolError, match="version 2"):
        wire.decode_request(codec.encode({"v": 2, "verb": "ping", "body": {}}))


def encodable(value: object) -> None:
    """Leave out what JSON can't hold: integers beyond 64 bits and lone surrogates."""
    try:
        codec.encode(value)
    except TypeError:
        reject()
