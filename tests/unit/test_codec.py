"""JSON and YAML at the door: plain values in and out, and one kind of error."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon import codec
from beacon.codec import documents

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(PLAIN)
def test_encoded_values_decode_to_the_same(value: object) -> None:
    assert codec.decode(codec.encode(value)) == value
    assert codec.decode(codec.encode_pretty(value)) == value
    assert codec.decode(codec.encode_sorted(value)) == value


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9), min_size=2, max_size=5))
def test_equal_values_give_equal_bytes_when_sorted(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))

    assert codec.encode_sorted(value) == codec.encode_sorted(backwards)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"nul", b"NaN", b'"\\ud800"', b"[1,]", b"{} {}", b"[" * 100_000, "{'a': 1}"]
)
def test_invalid_json_always_raises_the_same_error(data: bytes | str) -> None:
    with pytest.raises(codec.DecodeError, match=r"\S"):
        codec.decode(data)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", {"\udfff": 1}, nested(2000), {1: 2}, {1, 2}, b""])
def test_values_that_json_cannot_represent_always_raise_the_same_error(value: object) -> None:
    for encode in (codec.encode, codec.encode_pretty, codec.encode_sorted):
        with pytest.raises(codec.EncodeError, match=r"\S"):
            encode(value)


def test_raw_text_is_embedded_as_it_stands() -> None:
    assert codec.encode({"a": codec.raw('{"b":1.0}')}) == b'{"a":{"b":1.0}}'


@given(st.text(alphabet="ab:{}[],-?!&*|>'\"%@`#\n \t0x~<=.", max_size=40))
def test_any_yaml_text_is_read_or_is_one_kind_of_error(text: str) -> None:
    for load in (documents.load, documents.load_text):
        try:
            load(text)
        except codec.DecodeError:
            continue


@pytest.mark.parametrize(
    "tag", ["int", "float", "bool", "timestamp", "binary", "set", "omap", "null", "python/name:os"]
)
@pytest.mark.parametrize("value", ['""', "x", "[]", "{}", "[x]", "{a: b}", "_"])
def test_a_wrong_tag_is_read_or_is_one_kind_of_error(tag: str, value: str) -> None:
    try:
        documents.load(f"a: !!{tag} {value}")
    except codec.DecodeError:
        return


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: {b: 1, b: 2}", "- {x: 1, 'x': 2}", "1: a\n1: b"])
def test_a_repeated_key_is_an_error_with_its_position(text: str) -> None:
    with pytest.raises(codec.DecodeError, match=r"line \d+.*duplicate key"):
        documents.load(text)


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2", "[a]: 1", "{a: 1}: 2", "a: b: c", "a: *nothing", "\x00"])
def test_anything_but_one_plain_document_is_an_error(text: str) -> None:
    with pytest.raises(codec.DecodeError, match=r"\S"):
        documents.load(text)


def test_text_stays_the_text_that_it_is() -> None:
    text = "a: [true, no, 1.10, 0x10, 2020-01-01, ~, '', null, 1_000, 12:30]"

    assert documents.load_text(text) == {
        "a": ["true", "no", "1.10", "0x10", "2020-01-01", None, "", None, "1_000", "12:30"]
    }


def test_dumped_values_load_as_the_same() -> None:
    value = {"b": 1, "a": [True, None, "no", "1.10", "é", "x: y", "line\nline", ""]}

    text = documents.dump(value)

    assert documents.load(text) == value
    assert text.startswith("b: 1\na:")


@pytest.mark.parametrize("text", ["n", "y", "N", "no", "1e3", "+1.5E-3", "0o17", "17", "null", "~", "2026-01-01"])
def test_text_that_could_be_read_as_another_type_is_quoted(text: str) -> None:
    assert documents.dump({"key": text}) == f"key: '{text}'\n"


def test_other_text_is_not_quoted() -> None:
    assert (
        documents.dump(["new", "yes-but", "1e3x", "v1", "-", 1e3])
        == "- new\n- yes-but\n- 1e3x\n- v1\n- '-'\n- 1000.0\n"
    )


DEEPEST = 64
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{','.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(8)
)
MERGE_BOMB = "m0: &m0 {x: 1, y: 2}\n" + "".join(
    f"m{level}: &m{level}\n  <<: [{','.join([f'*m{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 3000))
LONG = "a: &a '" + "x" * 100_000 + "'\nb: [" + ",".join(["*a"] * 1000) + "]\n"


@pytest.mark.parametrize("load", [documents.load, documents.load_text])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "line 7, column 4: repeated aliases make it too large"),
        (MERGE_BOMB, "repeated aliases make it too large"),
        (LONG, "line 2, column 4: repeated aliases make it too large"),
        (CHAIN, f"nested more than {DEEPEST} levels deep"),
        ("[" * 100_000, f"line 1, column {DEEPEST + 1}: nested more than {DEEPEST} levels deep"),
        ("".join(" " * level + "a:\n" for level in range(300)), f"nested more than {DEEPEST} levels deep"),
        ("- " * 2000, f"nested more than {DEEPEST} levels deep"),
        ("&a [*a]", "an alias refers to a node that contains it"),
        ("a: &a\n  b: *a\n", "line 1, column 4: an alias refers to a node that contains it"),
        ("a: *b", "line 1, column 4: an alias refers to an undefined anchor"),
        ("a: &x 1\nb: &x 2\n", "line 2, column 4: duplicate anchor"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document starts here; only one is allowed"),
        ("a: 1\nb: x\0y\n", "line 2, column 5: a NUL is not allowed in YAML"),
        ("a: \x1b\n", "line 1, column 4: the character U+001B is not allowed in YAML"),
        ("a: \ud800\n", "line 1, column 4: the character U+D800 is not allowed in YAML"),
        ("a:\n\tb: 1\n", "line 2, column 1: "),
        ("a: 1\n" + "k" * 500 + ": 1\n" + "k" * 500 + ": 2\n", "line 3, column 1: duplicate key 'kkk"),
        ("a: !!python/object:os.system x", "line 1, column 4: unknown tag"),
        ("a: !!int zz", "line 1, column 4: a value does not match its tag"),
        ("a: !!timestamp x", "line 1, column 4: a value does not match its tag"),
        ("x: 1\n<<: 3\n", "line 2, column 5: << requires a mapping or a list of mappings"),
        ("? [a]\n: 1\n", "line 1, column 3: a key must be a plain value"),
    ],
)
def test_invalid_or_excessive_yaml_is_refused_with_a_plain_message(
    load: Callable[[str], object], text: str, message: str
) -> None:
    with pytest.raises(codec.DecodeError) as caught:
        load(text)

    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("load", [documents.load, documents.load_text])
def test_anchors_in_moderate_use_are_legal(load: Callable[[str], object]) -> None:
    text = "base: &base {a: x}\nmany:\n" + "".join("- {<<: *base, b: y}\n" for _ in range(500))

    assert load(text) == {"base": {"a": "x"}, "many": [{"a": "x", "b": "y"}] * 500}


@pytest.mark.parametrize("text", ["a: " + "9" * 5000, "a: 2020-99-99"])
def test_an_error_of_a_typed_reader_states_the_position(text: str) -> None:
    assert documents.load_text(text) == {"a": text[3:]}
    with pytest.raises(codec.DecodeError, match="line 1, column 4: a value does not match its tag"):
        documents.load(text)
