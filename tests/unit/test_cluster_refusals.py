"""The message of a refusal is kept, and its numbers are bounded."""

import pytest

from beacon import codec
from beacon.cluster import refusals


def test_a_refusal_in_plain_text_keeps_its_words() -> None:
    refused = refusals.refusal(404, b"404 page not found\n")

    assert (refused.status, str(refused)) == (404, "404 page not found")


def test_the_requested_delay_comes_from_the_header_or_the_status() -> None:
    body = codec.encode({"message": "m", "details": {"retryAfterSeconds": 3}})

    assert refusals.refusal(429, body).delay_s == 3.0
    assert refusals.refusal(429, body, "7").delay_s == 7.0
    assert refusals.refusal(429, b"{}", "Wed, 21 Oct 2026 07:28:00 GMT").delay_s is None


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("9" * 400, 3600.0),
        ("9" * 5000, 3600.0),
        ("1e25", 3600.0),
        ("1e9999", 3600.0),
        ("2.5", 2.5),
        ("0", None),
        ("-5", None),
        ("-1e25", None),
        ("null", None),
        ('"7"', None),
        ("[7]", None),
        ("{}", None),
        ("true", None),
        ("1e-400", None),
    ],
)
def test_a_delay_is_bounded_where_it_is_read(text: str, delay_s: float | None) -> None:
    body = b'{"message":"slow down","details":{"retryAfterSeconds":%b}}' % text.encode()

    refused = refusals.refusal(429, body)

    assert (refused.delay_s, str(refused)) == (delay_s, "slow down")


@pytest.mark.parametrize(("header", "delay_s"), [("9" * 5000, 3600.0), ("-3", None), ("\u0663", None), ("1.5", None)])
def test_a_header_is_bounded_as_well(header: str, delay_s: float | None) -> None:
    assert refusals.refusal(429, b"{}", header).delay_s == delay_s


@pytest.mark.parametrize("details", [b"7", b"null", b"[]", b'{"causes":7}', b'{"causes":[{"reason":1}]}'])
def test_details_that_cannot_be_read_do_not_cost_the_message(details: bytes) -> None:
    assert str(refusals.refusal(500, b'{"message":"hm","details":' + details + b"}")) == "hm"


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b'{"message":"\xff"}', b'{"code":' + b"9" * 5000 + b"}", b""]
)
def test_whatever_the_body_is_the_refusal_has_its_status_and_some_words(body: bytes) -> None:
    refused = refusals.refusal(500, body)

    assert refused.status == 500
    assert 0 < len(str(refused)) <= 1000


def test_a_long_message_is_cut() -> None:
    assert len(str(refusals.refusal(500, codec.encode({"message": "x" * 50_000})))) == 1000


def test_a_position_ahead_of_the_server_is_recognised() -> None:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    body = codec.encode(
        {"message": "Timeout: Too large resource version: 2, current: 1", "details": {"causes": causes}}
    )

    assert refusals.refusal(504, body).future
    assert not refusals.refusal(504, b"gateway timeout").future
