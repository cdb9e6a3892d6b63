import json
import sys
import unicodedata

import pytest

from beacon.boundary import visible


def test_every_character_that_acts_or_hides_is_escaped_and_no_other() -> None:
    unsafe = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    everything = [chr(code) for code in range(sys.maxunicode + 1)]
    assigned = [one for one in everything if unicodedata.category(one) != "Cn"]

    escaped = {one for one in assigned if visible.escaped(one) != one}

    assert escaped == {one for one in assigned if unicodedata.category(one) in unsafe}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Größe, 日本語, 🙂", "plain, Größe, 日本語, 🙂"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("one\ntwo\r\tthree\x9b31m\x7f", "one\\ntwo\\r\\tthree\\x9b31m\\x7f"),
        ("\U000e0041\ud800", "\\U000e0041\\ud800"),
    ],
)
def test_escaped_characters_are_visible(text: str, shown: str) -> None:
    assert visible.escaped(text) == shown
    assert visible.is_safe(shown)


def test_an_escaped_document_is_equal() -> None:
    value = {"key\u202e": ["\x9b\x7f\U000e0041 ü\n", "\\u202e"]}
    document = json.dumps(value, ensure_ascii=False, indent=1)

    shown = visible.escaped_json(document)

    assert json.loads(shown) == value
    assert visible.is_safe(shown)
    assert "ü" in shown
