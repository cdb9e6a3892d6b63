"""The list `endpoints`: the keys of `endpoint`, messages with the path of the entry, and the environment."""

import json

import jsonschema  # type: ignore[import-untyped]
import pytest

from beacon import codec, errors
from beacon.codec import documents
from beacon.configuration import endpoint_selection, loading, settings, shown
from beacon.dev.reference import schema
from beacon.domain import model, selection

RESOURCES = "resources: [{apiVersion: v1, kind: ConfigMap}]\n"
VALIDATOR = jsonschema.Draft7Validator(schema.document())


def with_endpoints(*entries: str) -> str:
    return RESOURCES + "endpoints:\n" + "".join(f"- {entry}\n" for entry in entries)


def load(text: str, **environ: str) -> settings.Settings:
    return loading.parse(text, environ).settings


def problems(text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(errors.ConfigError) as refused:
        load(text, **environ)
    return refused.value.problems


def test_a_list_of_one_is_the_same_as_endpoint() -> None:
    listed = load(with_endpoints("{url: http://a/, name: b, timeout: 3s, retry: {maxAttempts: 2}}"))
    single = load(RESOURCES + "endpoint: {url: http://a/, name: b, timeout: 3s, retry: {maxAttempts: 2}}")

    assert listed == single
    assert settings.digest(listed) == settings.digest(single)
    assert listed.endpoints == (listed.endpoint,)


def test_both_are_an_error() -> None:
    text = with_endpoints("{url: http://a/}") + "endpoint: {url: http://a/}\n"

    assert problems(text) == ("endpoint: can't be combined with endpoints",)


def test_an_empty_section_beside_the_list_is_no_error() -> None:
    assert load(with_endpoints("{url: http://a/}") + "endpoint:\n").endpoint.url == "http://a/"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{url: ftp://a/}", "endpoints[0].url: 'ftp://a/' must be an http or https URL"),
        ("{}", "endpoints[0].url: required"),
        ("{url: http://a/, tiemout: 1s}", "endpoints[0].tiemout: no such key; did you mean timeout?"),
        ("{url: http://a/, method: GET}", "endpoints[0].method: 'GET' must be one of POST, PUT, PATCH"),
        ("{url: http://a/, name: A b}", "endpoints[0].name: 'A b' must be at most 63 letters"),
        ("{url: http://a/, tls: {certFile: /c}}", "endpoints[0].tls: certFile and keyFile must be set together"),
        ("{url: http://a/, headers: {X-A: a, x-a: b}}", "endpoints[0].headers: two names differ only in case"),
        ("{url: http://a/, headers: {Te: secret}}", "endpoints[0].headers: 'Te' belongs to the connection"),
        ("http://user:secret@a/", "endpoints[0]: must be a mapping"),
        ("{url: http://a/, breaker: {probeInterval: 5s}}", "endpoints[0].breaker.probeInterval: '5s' must be"),
        ("{url: http://a/, park: {after: 0}}", "endpoints[0].park.after: '0' must be at least 1"),
        ("{url: http://a/, park: {statuses: [429]}}", "endpoints[0].park.statuses: '429' must be an HTTP status from"),
        ("{url: http://a/, park: {statuses: [401, 500]}}", "endpoints[0].park.statuses: '500' must be an HTTP status"),
        ("{url: http://a/, park: {statuses: [true]}}", "endpoints[0].park.statuses: 'true' must be an HTTP status"),
        ("{url: http://a/, park: {maxProbeInterval: 10ms}}", "endpoints[0].park.maxProbeInterval: '10ms' must be"),
        ("{url: http://a/, park: {afetr: 3}}", "endpoints[0].park.afetr: no such key; did you mean after?"),
    ],
)
def test_a_problem_names_the_entry(entry: str, message: str) -> None:
    found = problems(with_endpoints(entry))

    assert any(problem.startswith(message) for problem in found), found
    assert "secret" not in str(found)


@pytest.mark.parametrize("value", ["[]", "http://user:secret@a/", "{url: http://a/}", "3"])
def test_what_is_not_a_list_of_mappings_is_refused_without_being_shown(value: str) -> None:
    found = problems(f"{RESOURCES}endpoints: {value}\n")

    assert len(found) == 1, found
    assert found[0].startswith("endpoints: ")
    assert "secret" not in found[0]


@pytest.mark.parametrize(
    ("entry", "warning"),
    [
        ("{url: http://a/, timeout: 2h}", "endpoints[0].timeout: must be at least 1ms and at most 1h; 1h is used"),
        ("{url: http://a/, retry: {jitter: 3}}", "endpoints[0].retry.jitter: must be at least 0 and at most 1"),
        ("{url: http://a/, headers: {Content-Type: a}}", "endpoints[0].headers.Content-Type: ignored"),
        (
            "{url: http://a/, retry: {initialBackoff: 9m}}",
            "endpoints[0].retry.initialBackoff: longer than maxBackoff; maxBackoff is used for both",
        ),
    ],
)
def test_a_correction_names_the_entry(entry: str, warning: str) -> None:
    found = loading.parse(with_endpoints(entry), {}).warnings

    assert len(found) == 1, found
    assert found[0].startswith(warning), found


def test_a_url_in_the_environment_replaces_that_of_the_only_entry() -> None:
    assert load(with_endpoints("{name: a, url: http://a/}"), ENDPOINT_URL="http://b/").endpoint.url == "http://b/"
    assert load(with_endpoints("{name: a}"), ENDPOINT_URL="http://b/").endpoint.url == "http://b/"
    assert load(with_endpoints(""), ENDPOINT_URL="http://b/").endpoint.url == "http://b/"


def test_names_are_unique_and_the_default_is_a_name() -> None:
    found = problems(with_endpoints("{url: http://a/}", "{url: http://b/, name: default}"))

    assert "endpoints[1].name: 'default' is the name of endpoints[0], too; names must be unique" in found


@pytest.mark.parametrize("variable", ["ENDPOINT_URL", "ENDPOINT_AUTH_TOKEN", "ENDPOINT_AUTH_TOKEN_FILE"])
def test_with_several_entries_what_means_the_only_endpoint_is_refused(variable: str) -> None:
    text = with_endpoints("{url: http://a/, name: a}", "{url: http://b/, name: b}")

    found = problems(text, **{variable: "http://c/"})

    assert f"{variable}: means the only endpoint, but endpoints has 2; remove the variable" in found


def test_the_proxy_of_every_entry_is_checked() -> None:
    text = with_endpoints("{url: http://a/, name: a}", "{url: https://b/, name: b}")

    found = problems(text, HTTPS_PROXY="ftp://proxy/", NO_PROXY="a")

    assert any("HTTPS_PROXY" in problem for problem in found), found


def test_up_to_32_are_possible() -> None:
    entries = [f"{{url: http://a/, name: e{number}}}" for number in range(33)]

    assert len(load(with_endpoints(*entries[:32])).endpoints) == 32
    assert problems(with_endpoints(*entries)) == ("endpoints: 33 are too many; at most 32 are possible",)
    assert list(VALIDATOR.iter_errors(documents.load(with_endpoints(*entries))))


def test_the_selection_is_that_of_the_file() -> None:
    keys = "kinds: [ConfigMap], namespaces: [team-*], names: [a, 'b?']"
    tree = load(with_endpoints(f"{{url: http://a/, select: {{{keys}, types: [deleted]}}, exclude: {{names: ['ab']}}}}"))

    chosen = endpoint_selection.of(tree.endpoint)

    assert chosen.select == selection.SubjectFilter(kinds=("ConfigMap",), namespaces=("team-*",), names=("a", "b?"))
    assert chosen.exclude == selection.SubjectFilter(names=("ab",))
    assert chosen.types == (model.EventType.DELETED,)


def test_the_concurrency_is_that_of_the_worker_unless_it_is_set() -> None:
    worker = "worker: {concurrency: 7}\n"
    tree = load(worker + with_endpoints("{url: http://a/, name: a}", "{url: http://a/, name: b, concurrency: 2}"))

    assert [one.concurrency for one in tree.endpoints] == [7, 2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("select: {kinds: [ConfigMap, Pod]}", "endpoints[0].select.kinds[1]: 'Pod' is the kind of no"),
        ("exclude: {kinds: [ConfigMap.apps]}", "endpoints[0].exclude.kinds[0]: 'ConfigMap.apps' is the"),
        ("select: {kinds: [a b]}", "endpoints[0].select.kinds: 'a b' must be a kind with its API group"),
        ("select: {names: [a/b]}", "endpoints[0].select.names: 'a/b' must be a shell pattern"),
        ("select: {types: [gone]}", "endpoints[0].select.types: 'gone' must be one of created, updated, deleted"),
        ("exclude: {types: [created]}", "endpoints[0].exclude.types: no such key"),
        ("start: later", "endpoints[0].start: 'later' must be one of created, now"),
        ("rate: -1", "endpoints[0].rate: '-1' must be at least 0"),
        ("concurrency: 513", "endpoints[0].concurrency: '513' must be at least 0 and at most 512"),
        ("sync: {}", "endpoints[0].sync: no such key"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_an_endpoint_is_reported(keys: str, message: str) -> None:
    found = problems(with_endpoints(f"{{url: http://a/, {keys}}}"))

    assert len(found) == 1, found
    assert found[0].startswith(message), found


def test_with_wrong_resources_no_kind_is_called_unknown() -> None:
    text = "resources: [{apiVersion: v1}]\nendpoint: {url: http://a/, select: {kinds: [Pod]}}\n"

    assert problems(text) == ("resources[0].kind: required",)


def test_several_are_shown_as_a_list_that_loads_as_the_same() -> None:
    tree = load(with_endpoints("{url: http://a/, name: a, select: {names: [x]}}", "{url: http://a/, name: b}"))

    again = json.loads(codec.encode(shown.as_file(tree)))

    assert "endpoint" not in again
    assert load(json.dumps(again)) == tree


def test_the_effective_configuration_of_a_list_of_one_loads_as_the_same() -> None:
    tree = load(with_endpoints("{url: http://a/, name: a}"))

    again = json.loads(codec.encode(shown.as_file(tree)))

    assert again["endpoint"]["name"] == "a"
    assert load(json.dumps(again)) == tree


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        (with_endpoints("{url: http://a/, name: a}"), True),
        (RESOURCES + "endpoint: {url: http://a/}\nendpoints:\n", True),
        (with_endpoints("{url: ftp://a/}"), False),
        (with_endpoints("{url: http://a/, nmae: a}"), False),
        (with_endpoints("{url: http://a/}") + "endpoint: {url: http://a/}\n", False),
        (RESOURCES + "endpoints: []\n", False),
        (with_endpoints("{url: http://a/, name: a}", "{url: http://b/, name: b}"), True),
        (with_endpoints("{url: http://a/, name: a}", "{name: b}"), False),
        (with_endpoints("{url: http://a/, name: a}", "{url: '', name: b}"), False),
        (with_endpoints("{url: http://a/, name: a}", ""), False),
        (with_endpoints(*(f"{{url: http://a/, name: e{number}}}" for number in range(32))), True),
        (with_endpoints(*(f"{{url: http://a/, name: e{number}}}" for number in range(33))), False),
    ],
)
def test_the_schema_knows_the_list_as_the_loader_does(text: str, is_valid: bool) -> None:
    assert (not list(VALIDATOR.iter_errors(documents.load(text)))) is is_valid
    if not is_valid:
        assert problems(text)
    else:
        assert load(text).endpoints


def test_the_schema_does_not_require_the_url_of_the_only_endpoint_which_a_variable_may_set() -> None:
    text = with_endpoints("{name: a}")

    assert not list(VALIDATOR.iter_errors(documents.load(text)))
    assert load(text, ENDPOINT_URL="http://a/").endpoint.url == "http://a/"


def test_parking_is_configured_for_each_endpoint() -> None:
    entries = "{url: http://a/, name: a, park: {enabled: no}}", "{url: http://b/, name: b, park: {statuses: ['404']}}"

    a, b = load(with_endpoints(*entries)).endpoints

    assert not a.park.enabled
    assert (b.park.after, b.park.statuses, b.park.max_probe_interval_s) == (3, (404,), 300.0)
    assert settings.Park().statuses == (401, 403, 404, 405, 407, 410)
