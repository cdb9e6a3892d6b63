"""Secrets are masked in answers, in every form in which they may be repeated."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.notifier.transport import answer, masking

TOKEN = 'tök"n <&+/=%> sécret'
PROXY = "http://us%40er:p%2Fss%20w%C3%B6rd@proxy.example:3128"


@pytest.mark.parametrize(
    "came_back",
    [
        TOKEN,
        TOKEN.encode().decode("latin-1"),
        quote(TOKEN),
        quote(TOKEN, safe=""),
        quote_plus(TOKEN),
        json.dumps(TOKEN),
        json.dumps(TOKEN, ensure_ascii=False),
        html.escape(TOKEN),
        repr(TOKEN.encode()),
        repr(f"Bearer {TOKEN}"),
    ],
)
def test_a_secret_is_hidden_in_every_form(came_back: str) -> None:
    hidden = masking.hide(f"you sent {came_back}!", masking.forms([TOKEN]))

    assert "cret" not in hidden
    assert hidden.startswith("you sent ")
    assert hidden.endswith("!")


def test_percent_escapes_of_either_case_are_hidden() -> None:
    secrets = masking.forms(["a/b+c=d"])

    assert masking.hide("a%2fb%2bc%3dd and a%2Fb%2Bc%3Dd", secrets) == "*** and ***"


@pytest.mark.parametrize(
    "came_back",
    [
        base64.b64encode("us@er:p/ss wörd".encode()).decode(),
        base64.b64encode("us@er:p/ss wörd".encode("latin-1")).decode(),
        "us@er:p/ss wörd",
        "us%40er:p%2Fss%20w%C3%B6rd",
        "p/ss wörd",
        "p%2Fss%20w%C3%B6rd",
        "p/ss+w%C3%B6rd",
        PROXY,
    ],
)
def test_credentials_of_a_proxy_are_masked(came_back: str) -> None:
    secrets = masking.of_request("http://sink.example/", {}, [PROXY])

    hidden = masking.hide(f"Basic {came_back}, why", secrets)

    assert hidden.endswith(", why")
    assert "***" in hidden
    assert "rd" not in hidden
    assert came_back not in hidden


def test_a_proxy_without_a_scheme_and_one_with_a_user_alone_are_hidden() -> None:
    secrets = masking.of_request("http://sink.example/", {}, ["user:passw0rd@proxy:3128", "http://t0ken-x@proxy"])

    assert masking.hide("passw0rd t0ken-x", secrets) == "*** ***"


def test_values_of_headers_are_hidden_with_and_without_their_scheme_and_decoded() -> None:
    pair = base64.b64encode(b"alice:wonderland").decode()
    secrets = masking.of_request("http://sink.example/", {"Authorization": f"Basic {pair}", "X-Key": " key-1 "}, [])

    assert masking.hide(f"Basic {pair}|{pair}|alice:wonderland|wonderland|key-1", secrets) == "***|***|***|***|***"


def test_values_of_the_query_are_hidden_as_sent_and_decoded_and_keys_are_not() -> None:
    secrets = masking.of_request("http://sink.example/p?token=s%2Fcret+1&naked-token&bmFrZWQ==", {}, [])

    text = "token naked-token s%2Fcret+1 s/cret+1 s/cret 1 bmFrZWQ== end"

    assert masking.hide(text, secrets) == "token *** *** *** *** *** end"


def test_a_secret_that_the_end_of_a_text_cuts_off_is_hidden() -> None:
    secrets = masking.forms(["sixteen-of-sevent"])

    assert [masking.hide(f"got {'sixteen-of-sevent'[:length]}", secrets) for length in (4, 10, 16, 17)] == [
        "got ***"
    ] * 4
    assert masking.hide("got six", secrets) == "got six"
    assert masking.hide("sixteen tons", secrets) == "sixteen tons"


@pytest.mark.parametrize("before", [*range(480, 520), *range(2030, 2050), 65_520, 65_530])
def test_no_cut_leaves_a_part_of_a_secret(before: int) -> None:
    secret = "0123456789ABCDEFG"
    body = ("x" * before + secret + " end")[: 64 * 1024]

    kept = answer.clean(body, secrets=masking.forms([secret]))

    assert "0123" not in kept
    assert len(kept.encode()) <= answer.LONGEST_ERROR


@pytest.mark.parametrize("before", range(2000, 2060))
def test_no_cut_leaves_a_part_of_a_secret_where_cleaning_shortens(before: int) -> None:
    secret = "0123456789ABCDEFG"

    kept = answer.clean(" " * before + secret + " end", secrets=masking.forms([secret]))

    assert "0123" not in kept


@given(secret=st.text(min_size=4, max_size=40), around=st.text(max_size=30))
def test_every_possible_secret_is_masked(secret: str, around: str) -> None:
    hidden = masking.hide(f"{around}{secret}{around}", masking.forms([secret]))

    assert secret not in hidden or secret in masking.HIDDEN + around + masking.HIDDEN


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=5))
def test_no_text_and_no_secret_raises(text: str, values: list[str]) -> None:
    headers = {f"X-{number}": value for number, value in enumerate(values)}
    secrets = masking.of_request("http://h/?" + "&".join(map(quote, values)), headers, [PROXY, *values[:1]])

    assert isinstance(answer.clean(text, secrets=secrets), str)
