"""What is JSON but no message, in both directions: refused in words, and nothing else is raised."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon import codec, wire

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
REFUSED = JSON | st.fixed_dictionaries({"code": JSON, "message": JSON})


@given(st.fixed_dictionaries({}, optional={"v": JSON | st.just(1), "verb": JSON, "ledger": JSON, "body": JSON}) | JSON)
def test_an_arbitrary_json_request_raises_nothing_but_a_protocol_error(message: Any) -> None:
    with contextlib.suppress(wire.ProtocolError):
        wire.decode_request(codec.encode(message))


@given(
    st.fixed_dictionaries(
        {"v": st.just(1)}, optional={"ledger": JSON, "settings": JSON, "refused": REFUSED, "body": JSON}
    )
    | JSON,
    st.sampled_from([wire.Ping(), wire.Hello(process="x"), wire.Inspect()]),
)
def test_an_arbitrary_json_reply_raises_nothing_but_a_protocol_error(message: Any, request: wire.AnyRequest) -> None:
    with contextlib.suppress(wire.ProtocolError):
        wire.reply_body(wire.decode_reply(codec.encode(message)), request)


@given(st.binary(max_size=80))
def test_an_arbitrary_bytes_reply_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError, match=r"\S"):
        wire.decode_reply(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"v":1,"verb":"ping","body":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b'{"v":1,"verb":"claim","body":{"endpoint":"\\ud800","session":"s","number":1,"want":1,"wait_s":0}}',
        b'{"v":1,"verb":"claim","body":{"endpoint":"e","session":"s","number":1e30,"want":1,"wait_s":0}}',
        b'{"v":1,"verb":"claim","body":{"endpoint":"e","session":"s","number":1,"want":1,"wait_s":NaN}}',
        b'{"v":1,"verb":"claim","body":{"endpoint":"e","session":"s","number":1,"want":1}}',
        b'{"v":1,"verb":"expire","body":{"scope":{},"session":1,"epoch":0,"prev":1}}',
        b'{"v":1,"verb":"observe","body":null}',
        b'{"v":1,"verb":["ping"],"body":{}}',
        b'{"v":1}',
    ],
)
def test_a_message_that_is_almost_a_request_is_refused(data: bytes) -> None:
    with contextlib.suppress(wire.ProtocolError):
        assert wire.decode_request(data) == (wire.Ping(), "")
