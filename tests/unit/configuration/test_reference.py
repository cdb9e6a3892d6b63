"""The reference of the configuration and its JSON Schema agree with the model."""

import contextlib
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beacon import codec, errors
from beacon.codec import documents
from beacon.configuration import loading
from beacon.dev.reference import effects, keys, page, schema
from tests.unit.configuration import test_file

ROOT = Path(__file__).parents[3]
DATA = Path(__file__).parent / "data"
VALIDATOR = jsonschema.Draft7Validator(schema.document())

# What is wrong between keys, with a whole duration, in what YAML itself is, or in a language of its own.
BEYOND = (
    "is not YAML", "two entries of", "path must differ", "labelSelector: 'a=b=c'", "does not match its tag",
    "two names differ", "is not Unicode", "endpoint.url: required", "probeInterval: '5s'",
    "backup.path: required by interval",
    "0s (off), or at least 1s",
)  # fmt: skip
VALUES = (
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.floats(-1, 101) | st.lists(st.text(max_size=3), max_size=2)
    | st.text(max_size=6)
    | st.sampled_from(
        ["1s", "5m", "", "0", "+1s", "true", "Yes", "off", "POST", "json", "/x", "a-b", "32Mi", "1.5", "1_0", "http://a/"]
    )
    | st.dictionaries(st.sampled_from(["X-A", "te", "x y"]), st.sampled_from(["a", " a", "", None]), max_size=1)
)  # fmt: skip


def complaints(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(documents.load(text))]


def paths() -> list[str]:
    return [f"{part.path}.{key.name}" for part in keys.walk(keys.tree()) for key in part.keys]


def with_value(path: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"resources": [{"apiVersion": "v1", "kind": "Pod"}], "endpoint": {"url": "http://a/"}}
    first, *rest = path.split(".")
    place = content["resources"][0] if first == "resources" else content.setdefault(first, {})
    for name in rest[:-1]:
        place = place.setdefault(name, {})
    place[rest[-1]] = value
    return content


def test_the_schema_in_the_repository_is_that_of_the_model() -> None:
    assert schema.PATH.read_bytes() == codec.encode_pretty(schema.document()), "run `make schema`"


def test_the_tables_of_the_reference_are_those_of_the_model() -> None:
    text = page.PATH.read_text()

    assert page.renewed(text) == text, "run `make schema`"


def test_every_key_has_its_sentence_and_no_sentence_is_left_over() -> None:
    assert set(paths()) == set(effects.EFFECTS)


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(schema.document())


@pytest.mark.parametrize(
    "path", [ROOT / "docs/examples/config.yaml", *sorted(DATA.glob("*.yaml"))], ids=lambda path: path.name
)
def test_the_schema_takes_the_example_and_the_files_of_the_go_beacon(path: Path) -> None:
    text = path.read_text().replace("Content-Type: application/json, ", "")  # which is ignored, with a warning

    assert complaints(text) == []


def test_the_documented_default_parses_to_the_default() -> None:
    for part in keys.walk(keys.tree()):
        for key in part.keys:
            given = schema.document()
            for name in f"{part.path}.{key.name}".split("."):
                given = given["properties"][name]
                given = given.get("items", given) if name == "resources" else given
            if "default" in given:
                content = with_value(f"{part.path}.{key.name}", given["default"])
                plain = with_value(f"{part.path}.{key.name}", None)
                assert load(content).settings == load(plain).settings, key.name


WRONG = [
    case
    for case in test_file.test_invalid_input_is_reported_with_path_value_and_allowed_values.pytestmark[0].args[1]  # type: ignore[attr-defined]
    if not any(words in case[1] for words in BEYOND)
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_the_schema_rejects_invalid_values_as_far_as_a_schema_can(text: str, message: str) -> None:
    assert complaints(text), message


def load(content: Any) -> loading.Loaded:
    return loading.parse(json.dumps(content), {})


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(paths()), VALUES)
@example("endpoint.timeout", "1h30m")
@example("endpoint.tls.insecureSkipVerify", "ON")
@example("resources.namespaces", [""])
@example("endpoint.headers", {"X": "\xa0"})
@pytest.mark.slow
def test_values_that_the_schema_rejects_are_rejected_or_warned_about(path: str, value: Any) -> None:
    content = with_value(path, value)
    if not list(VALIDATOR.iter_errors(content)):
        return

    with contextlib.suppress(errors.ConfigError):
        assert load(content).warnings
