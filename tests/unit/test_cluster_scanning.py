"""Values are found in JSON text of any depth, and only in JSON text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.cluster import scanning

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(value=st.dictionaries(st.text(), VALUES, max_size=5), indent=st.sampled_from([None, 0, 3]), plain=st.booleans())
def test_members_are_found_where_a_parser_finds_them(value: dict[str, object], indent: int | None, plain: bool) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=plain).encode(errors="surrogatepass")

    found = scanning.members(data)

    readable = {key for key in value if not any(0xD800 <= ord(character) < 0xE000 for character in key)}
    assert set(found) == readable
    assert {key: json.loads(data[slice(*found[key])].decode(errors="surrogatepass")) for key in readable} == {
        key: value[key] for key in readable
    }


@given(value=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 2]))
def test_elements_are_found_where_a_parser_finds_them(value: list[object], indent: int | None) -> None:
    data = json.dumps(value, indent=indent).encode()

    spans: list[scanning.Span] = []

    end = scanning.elements(data, 0, spans.append)

    assert [json.loads(data[slice(*span)]) for span in spans] == value
    assert end == len(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"7", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":{}', b'{"a":"b}', b'{"a":[1,{"b":2}]', b'{"a":]}'],
)
def test_a_text_that_ends_too_early_or_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(scanning.ScanError):
        scanning.members(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"[1", b"[1,", b"[1,]", b'["a', b"[{]"])
def test_a_text_that_ends_too_early_or_is_no_array_is_an_error(data: bytes) -> None:
    with pytest.raises(scanning.ScanError):
        scanning.elements(data, 0, lambda _: None)


def test_of_a_text_that_was_cut_the_last_value_reaches_to_its_end() -> None:
    data = b'{"a":1,"b":{"c":"d'

    found = scanning.members(data, cut=True)

    assert {key: data[slice(*span)] for key, span in found.items()} == {"a": b"1", "b": b'{"c":"d'}


def test_of_equal_keys_the_last_one_counts() -> None:
    data = b'{"a":1,"\\u0061":2}'

    assert data[slice(*scanning.members(data)["a"])] == b"2"


# What a pattern that goes back over what it has read would take hours for.
@pytest.mark.parametrize("piece", [b"\\\\", b'\\"', b"[", b"{", b'"', b'{"a":', b" ", b",", b'"\\', b"1", b'"a":'])
def test_the_time_is_linear_in_the_length_whatever_the_text_is(piece: bytes) -> None:
    for beginning in (b"{", b'{"a":', b'{"a":"', b'{"'):
        with pytest.raises(scanning.ScanError):
            scanning.members(beginning + piece * (1_000_000 // len(piece)))
