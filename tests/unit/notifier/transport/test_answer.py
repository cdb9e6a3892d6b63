from hypothesis import given
from hypothesis import strategies as st

from beacon.notifier.transport import answer, masking


def test_credentials_are_masked_anywhere_in_a_text() -> None:
    secrets = masking.forms(["Bearer s3cr3t-token", "key-1234"])

    text = answer.clean("you sent Bearer s3cr3t-token and s3cr3t-token, key-1234", secrets=secrets)

    assert text == "you sent *** and ***, ***"


def test_a_secret_that_contains_another_is_masked_completely() -> None:
    assert answer.clean("abcdef", secrets=masking.forms(["abcd", "abcdef"])) == "***"


def test_control_characters_become_one_space() -> None:
    assert answer.clean("a\x1b[31m\r\n\tb\x00\u2028c   d", secrets=()) == "a [31m b c d"


def test_a_secret_is_masked_even_where_the_text_is_cut() -> None:
    text = answer.clean("x" * 505 + "topsecret", secrets=masking.forms(["topsecret"]))

    assert "top" not in text


@given(text=st.text(max_size=2000))
def test_a_stored_error_has_at_most_512_bytes(text: str) -> None:
    kept = answer.clean(text, secrets=())

    assert len(kept.encode()) <= answer.LONGEST_ERROR
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in kept)


def test_a_text_is_cut_between_characters() -> None:
    kept = answer.cut("é" * 400)

    assert kept.endswith("…")
    assert set(kept[:-1]) == {"é"}
