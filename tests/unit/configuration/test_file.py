"""Configuration files: accepted content, the messages for invalid content, and corrections."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beacon import codec, errors
from beacon.codec import documents
from beacon.configuration import loading, named_files, settings, shown, values
from beacon.domain import instants

ROOT = Path(__file__).parents[3]
LEAST = "resources: [{apiVersion: v1, kind: ConfigMap}]\nendpoint: {url: http://sink/}\n"


def load(text: str, **environ: str) -> loading.Loaded:
    return loading.parse(text, environ)


def problems(text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(errors.ConfigError) as refused:
        load(text, **environ)
    return refused.value.problems


def with_endpoint(more: str) -> str:
    return LEAST.replace("{url: http://sink/}", f"{{url: http://sink/, {more}}}")


def test_the_least_file_gets_every_default_of_the_reference() -> None:
    tree = load(LEAST).settings

    assert tree.annotation.key == "bakerapps.net.maas"
    assert tree.cloud_events == settings.CloudEvents(source="/beacon", type_prefix="net.bakerapps.beacon.resource")
    assert (tree.endpoint.name, tree.endpoint.method, tree.endpoint.timeout_s) == ("default", "POST", 30)
    assert tree.endpoint.retry == settings.Retry(
        max_attempts=10, initial_backoff_s=1, max_backoff_s=300, backoff_multiplier=2, jitter=0.1
    )
    assert tree.endpoint.breaker == settings.BreakerSettings(failure_threshold=5, probe_interval_s=1)
    assert tree.worker == settings.Worker(poll_interval_s=5, batch_size=100, concurrency=5)
    assert (tree.metrics.port, tree.health.port) == (8080, 8080)
    assert tree.storage.reserve_bytes == 32 * 1024 * 1024
    assert tree.app.version


@pytest.mark.parametrize("name", ["go-valid.yaml", "go-minimal.yaml", "go-deployed.yaml"])
def test_a_file_of_the_go_beacon_loads_unchanged(name: str) -> None:
    loaded = load((Path(__file__).parent / "data" / name).read_text())

    assert loaded.settings.resources


def test_scalars_are_the_text_that_stands_there() -> None:
    tree = load(LEAST + "annotation: {values: [true, 1.10, 'no', 0x10]}\napp: {version: 1.10}\n").settings

    assert tree.annotation.values == ("true", "1.10", "no", "0x10")
    assert tree.app.version == "1.10"


@pytest.mark.parametrize(
    "text",
    [
        LEAST + "payload:\nworker: {}\nannotation: {key: ''}\n",
        with_endpoint("method: '', timeout: , retry: , tls: {caFile: ''}"),
    ],
)
def test_an_empty_value_is_the_default(text: str) -> None:
    assert load(text).settings == load(LEAST).settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_endpoint("timeout: 0s"), "endpoint.timeout: must be at least 1ms and at most 1h; 30s is used"),
        (with_endpoint("timeout: -5s"), "endpoint.timeout: must be at least 1ms and at most 1h; 30s is used"),
        (with_endpoint("timeout: 500h"), "endpoint.timeout: must be at least 1ms and at most 1h; 1h is used"),
        (
            with_endpoint("retry: {maxAttempts: -1}"),
            "endpoint.retry.maxAttempts: must be at least 0 and at most 2147483647; 10 is used",
        ),
        (with_endpoint("retry: {jitter: 3}"), "endpoint.retry.jitter: must be at least 0 and at most 1; 1 is used"),
        (
            with_endpoint("retry: {initialBackoff: 10m}"),
            "endpoint.retry.initialBackoff: longer than maxBackoff; maxBackoff is used for both",
        ),
        (
            with_endpoint("headers: {content-type: text/plain}"),
            "endpoint.headers.Content-Type: ignored, events are application/cloudevents+json",
        ),
        (LEAST + "worker: {batchSize: 0}", "worker.batchSize: must be at least 1 and at most 10000; 100 is used"),
        (LEAST + "worker: {concurrency: -2}", "worker.concurrency: must be at least 1 and at most 512; 5 is used"),
        (LEAST + "reconciliation: {interval: 5m}", "reconciliation.timeout: not shorter than interval; 4m30s is used"),
        (
            LEAST + "storage: {warningThreshold: 95}",
            "storage.warningThreshold: not below criticalThreshold; 81 is used",
        ),
        (
            LEAST + "backup: {interval: 1h, path: /data}",
            "backup.path: the directory of the ledger; a lost volume takes the backups with it",
        ),
    ],
)
def test_a_nonsensical_value_that_go_accepts_is_corrected_with_a_warning(text: str, message: str) -> None:
    assert message in load(text).warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the configuration is empty: at least resources and endpoint.url are needed"),
        ("- a", "the configuration must be a mapping of keys such as resources and endpoint"),
        ("a: b\n c: d", "the configuration is not YAML: line 2, column 3: mapping values are not allowed here"),
        ("a: 1\na: 2", "the configuration is not YAML: line 2, column 1: duplicate key 'a'"),
        ("a: 1\n---\nb: 2", "the configuration is not YAML: line 2, column 1"),
        ("endpoint: {url: http://x/}", "resources: required"),
        ("resources: []\nendpoint: {url: http://x/}", "resources: at least one is required"),
        ("resources: [{apiVersion: v1, kind: X}]", "endpoint.url: required"),
        (LEAST + "endpont: {}", "endpont: no such key; did you mean endpoint?"),
        (with_endpoint("metod: POST"), "endpoint.metod: no such key; did you mean method?"),
        (
            with_endpoint("retry: {maxattempts: 3}"),
            "endpoint.retry.maxattempts: no such key; did you mean maxAttempts?",
        ),
        (with_endpoint("method: post"), "endpoint.method: 'post' must be one of POST, PUT, PATCH"),
        (with_endpoint("timeout: 30"), "endpoint.timeout: '30' must be a duration with units, such as 500ms"),
        (with_endpoint("timeout: [30s]"), "endpoint.timeout: must be a number"),
        (with_endpoint("retry: {maxAttempts: many}"), "endpoint.retry.maxAttempts: 'many' must be an integer"),
        (with_endpoint("retry: 5"), "endpoint.retry: '5' must be a mapping"),
        (with_endpoint("breaker: {probeInterval: 5s}"), "endpoint.breaker.probeInterval: '5s' must be at least 1ms"),
        (
            with_endpoint("breaker: {failureThreshold: -1}"),
            "endpoint.breaker.failureThreshold: '-1' must be at least 0",
        ),
        (with_endpoint("headers: {Host: x}"), "endpoint.headers: 'Host' belongs to the connection"),
        (with_endpoint("headers: {'a b': x}"), "endpoint.headers: 'a b' is not a header's name"),
        (with_endpoint('headers: {X: "a\\nb"}'), "endpoint.headers: 'X' has a value with line breaks"),
        (with_endpoint("tls: {certFile: /a}"), "endpoint.tls: certFile and keyFile must be set together"),
        (with_endpoint("tls: {insecureSkipVerify: maybe}"), "endpoint.tls.insecureSkipVerify: 'maybe' must be true"),
        (with_endpoint("name: 'a b'"), "endpoint.name: 'a b' must be at most 63 letters"),
        (LEAST.replace("http://sink/", "ftp://sink/"), "endpoint.url: 'ftp://sink/' must be an http or https URL"),
        (LEAST.replace("http://sink/", "http://"), "endpoint.url: 'http://' must be an http or https URL"),
        (LEAST.replace("kind: ConfigMap", "kind: config_map"), "resources[0].kind: 'config_map' must be a kind"),
        (
            LEAST.replace("apiVersion: v1", "apiVersion: V1/x/y"),
            "resources[0].apiVersion: 'V1/x/y' must be an API version such as",
        ),
        (
            LEAST.replace("kind: ConfigMap", "kind: X, namespaces: [A_b]"),
            "resources[0].namespaces: 'A_b' must be a namespace",
        ),
        (LEAST.replace("kind: ConfigMap", "kind: X, labelSelector: a=b=c"), "resources[0].labelSelector: 'a=b=c'"),
        (
            LEAST.replace("kind: ConfigMap", "kind: X, namespaces: [a], excludeNamespaces: [b]"),
            "resources[0].excludeNamespaces: can't be combined with namespaces",
        ),
        (
            LEAST.replace("apiVersion: v1, kind: ConfigMap", "apiVersion: project.openshift.io/v1, kind: Project"),
            "use apiVersion v1, kind Namespace",
        ),
        (
            LEAST.replace("[{", "[{apiVersion: v1, kind: ConfigMap, labelSelector: a=b}, {"),
            "two entries of ConfigMap match different objects of all namespaces",
        ),
        (LEAST + "metrics: {port: 8080, path: /ready}", "livenessPath, readinessPath and path must differ"),
        (LEAST + "metrics: {path: metrics}", "metrics.path: 'metrics' must be a path that begins with a slash"),
        (LEAST + "storage: {reserve: 3Zi}", "storage.reserve: '3Zi' must be a number of bytes"),
        (LEAST + "metrics: {port: 70000}", "metrics.port: '70000' must be a port, 1 to 65535"),
        (LEAST + "health: {port: -1}", "health.port: '-1' must be a port"),
        (with_endpoint("retry: {backoffMultiplier: x}"), "endpoint.retry.backoffMultiplier: 'x' must be a number"),
        (with_endpoint("breaker: {failureThreshold: 99999999999999999999}"), "failureThreshold"),
        (LEAST + "storage: {dbPath: events.db}", "storage.dbPath: 'events.db' must be an absolute path"),
        (LEAST + 'storage: {dbPath: "/a\\0b"}', "storage.dbPath"),
        (LEAST + "backup: {interval: 1h}", "backup.path: required by interval"),
        (LEAST + "backup: {interval: 500ms, path: /b}", "backup.interval: 500ms must be 0s (off), or at least 1s"),
        (LEAST + "backup: {path: backups}", "backup.path: 'backups' must be an absolute path"),
        (LEAST + "backup: {keep: 0}", "backup.keep"),
        (LEAST + 'app: {version: "1\\n2"}', "app.version: must be at most 64 visible ASCII characters"),
        (LEAST + 'app: {name: "\\ud800"}', "holds text that is not Unicode"),
        (LEAST + "app: {name: !!bool x}", "a value does not match its tag"),
        (LEAST + "cloudEvents: {typePrefix: 'a b'}", "cloudEvents.typePrefix: must consist of letters"),
        (with_endpoint("headers: {X-A: a, x-a: b}"), "endpoint.headers: two names differ only in case"),
        (
            with_endpoint("headers: {Authorization: Bearer replace-me}"),
            "endpoint.headers: 'Authorization' contains `replace-me`, the placeholder of the examples",
        ),
        (LEAST.replace("http://sink/", "http://*.x/"), "endpoint.url: 'http://*.x/' must be an http or https URL"),
        (LEAST.replace("http://sink/", "http://s/#f"), "must not hold a fragment"),
        (LEAST.replace("http://sink/", "http://s:0/"), "must be an http or https URL"),
        (with_endpoint("tls: {keyFile: /a}"), "endpoint.tls: certFile and keyFile must be set together"),
        (with_endpoint("headers: {te: x}"), "endpoint.headers: 'te' belongs to the connection"),
        (with_endpoint("headers: {X: ' a'}"), "endpoint.headers: 'X' has a value with line breaks"),
        (LEAST + "app: {clusterName: 'a b'}", "app.clusterName: 'a b' must consist of letters"),
        (LEAST + "annotation: {key: 'a b'}", "annotation.key: 'a b' must be an annotation's name"),
        (LEAST + "cloudEvents: {source: 'a b'}", "cloudEvents.source: 'a b' must be a URI reference"),
        (LEAST.replace("kind: ConfigMap", "kind: X, resource: A"), "resources[0].resource: 'A' must be a plural"),
        (LEAST + "app: {logLevel: loud}", "app.logLevel: 'loud' must be one of debug, info, warn, error"),
    ],
)
def test_invalid_input_is_reported_with_path_value_and_allowed_values(text: str, message: str) -> None:
    assert any(message in problem for problem in problems(text)), problems(text)


def test_all_problems_are_reported_at_once() -> None:
    text = "resources: [{apiVersion: v1, knd: X}]\nendpoint: {url: ftp://x, retry: {jitter: x}}\nworkers: {}\n"

    message = problems(text)

    assert [problem.split(":")[0] for problem in message] == [
        "resources[0].kind",
        "resources[0].knd",
        "endpoint.url",
        "endpoint.retry.jitter",
        "workers",
    ]


def test_a_corrected_value_is_the_effective_one() -> None:
    slow = load(with_endpoint("retry: {initialBackoff: 10m}") + "reconciliation: {interval: 5m}\n").settings
    short = load(LEAST + "retention: {cleanupInterval: 100ms, retentionPeriod: 900000h}\n").settings

    assert slow.endpoint.retry.initial_backoff_s == slow.endpoint.retry.max_backoff_s == 300
    assert slow.reconciliation.timeout_s == 270
    assert (short.retention.cleanup_interval_s, short.retention.retention_period_s) == (1, instants.LONGEST_S)


@pytest.mark.parametrize(
    ("text", "environ", "volume"),
    [
        ("", {}, "/data"),
        ("", {"DB_PATH": "/tmp/beacon/e.db"}, "/tmp/beacon"),
        ("storage: {dbPath: /elsewhere/e.db}\n", {}, "/elsewhere"),
        ("storage: {dbPath: /elsewhere/e.db, volumePath: ''}\n", {"DB_PATH": "/e.db"}, "/"),
        ("storage: {dbPath: /elsewhere/e.db, volumePath: /data}\n", {"DB_PATH": "/tmp/e.db"}, "/data"),
    ],
)
def test_the_volume_is_that_of_the_database_unless_it_is_set(text: str, environ: dict[str, str], volume: str) -> None:
    assert load(LEAST + text, **environ).settings.storage.volume_path == volume


def test_a_volume_path_with_a_nul_is_refused() -> None:
    assert problems(LEAST + 'storage: {volumePath: "/da\\0ta"}\n') == (
        "storage.volumePath: '/da\\x00ta' must be a path",
    )


def test_failed_deliveries_are_kept_for_ever_by_default() -> None:
    assert load(LEAST).settings.retention.failed_period_s == 0
    assert load(LEAST + "retention: {failedPeriod: 0s}\n").settings.retention.failed_period_s == 0
    assert load(LEAST + "retention: {failedPeriod: 720h}\n").settings.retention.failed_period_s == 2_592_000
    assert problems(LEAST + "retention: {failedPeriod: -1s}\n") == (
        "retention.failedPeriod: '-1s' must be at least 0s and at most 876000h",
    )


def test_a_port_of_nothing_is_the_default_as_in_go() -> None:
    assert load(LEAST + "metrics: {port: 0}\n").settings.metrics.port == 8080


def test_an_empty_namespace_means_all_as_in_go() -> None:
    tree = load(LEAST.replace("kind: ConfigMap", "kind: ConfigMap, namespaces: ['']")).settings

    assert tree.resources[0].namespaces == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("1.5s", 1.5), ("2us", 2e-6), ("3µs", 3e-6), ("-1s", -1), ("0", 0)]
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert values.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "count"), [("10", 10), ("1Ki", 1024), ("2G", 2_000_000_000), ("32Mi", 33_554_432)])
def test_a_size_is_read_as_kubernetes_reads_it(text: str, count: int) -> None:
    assert values.size(text) == count


def test_the_environment_overrides_url_and_database() -> None:
    tree = load("resources: [{apiVersion: v1, kind: X}]\n", ENDPOINT_URL="https://other/", DB_PATH="/x/y.db").settings

    assert tree.endpoint.url == "https://other/"
    assert tree.storage.db_path == "/x/y.db"


def test_no_secret_is_in_errors_representations_or_the_effective_configuration() -> None:
    secret = "hunter2-very-secret"
    wrong = problems(with_endpoint(f"headers: {{Authorization: '{secret}\x01'}}".replace("\x01", "é€")))
    user = problems(LEAST.replace("http://sink/", f"http://me:{secret}@sink/"))
    tree = load(with_endpoint(f"headers: {{Authorization: {secret}}}")).settings
    wrong += problems(with_endpoint(f"headers: {{Authorization: !{secret}}}"))
    wrong += problems(with_endpoint(f"headers: {{Authorization: *{secret}}}"))
    wrong += problems(with_endpoint(f"headers: {{Authorization: !!int {secret}}}"))
    wrong += problems(with_endpoint(f"headers: {{'Authorization: {secret}': x}}"))
    user += problems(LEAST.replace("http://sink/", f"'http://me:{secret}/#x@sink/'"))
    user += problems(LEAST.replace("http://sink/", f"me:{secret}@sink"))
    user += problems(LEAST.replace("http://sink/", f"ftp://sink/?token={secret}"))
    user += problems(LEAST.replace("http://sink/", f'"http://sink\\n{secret}@sink/"'))

    assert secret not in "".join((*wrong, *user, repr(tree), str(shown.as_file(tree))))
    assert shown.as_file(tree)["endpoint"]["headers"] == {"Authorization": "***"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "can't be read: No such file or directory"),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (os.mkfifo, "can't be read: Not a regular file"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not UTF-8 text"),
        (lambda path: path.write_bytes(b"#" * 1_100_000), "is larger than 1 MiB"),
        (lambda path: path.symlink_to("/dev/zero"), "can't be read: Not a regular file"),
    ],
)
def test_an_unreadable_file_is_reported_in_one_sentence(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "beacon.yaml"
    make(path)

    with pytest.raises(errors.ConfigError) as refused:
        loading.load({"CONFIG_PATH": str(path)})

    assert refused.value.problems == (f"{path} {message}",) or refused.value.problems[0].startswith(f"{path} {message}")


def test_the_effective_configuration_loads_as_the_same() -> None:
    text = with_endpoint("timeout: 1h30m1.5s, retry: {maxBackoff: 90s}") + "storage: {reserve: 64Mi}\n"
    tree = load(text.replace("1h30m1.5s", "30m1.5s")).settings

    again = load(documents.dump(shown.as_file(tree))).settings

    assert again == tree


def test_the_tree_travels_unchanged_and_its_digest_names_its_content() -> None:
    tree = load(with_endpoint("headers: {X-A: b}")).settings
    other = load(with_endpoint("headers: {X-A: c}")).settings

    assert settings.from_plain(codec.decode(codec.encode(settings.to_plain(tree)))) == tree
    assert settings.digest(tree) == settings.digest(load(with_endpoint("headers: {X-A: b}")).settings)
    assert settings.digest(tree) != settings.digest(other)


def test_the_commented_example_has_every_key_and_loads() -> None:
    text = (ROOT / "docs/examples/config.yaml").read_text()
    given = documents.load_text(text.replace("# version:", "version:"))

    load(text)

    assert keys_of_file(given) == keys_of_model()


def keys_of_file(given: dict[str, Any]) -> set[str]:
    found = set()
    for section, inside in given.items():
        items = inside if isinstance(inside, list) else [inside]
        for item in items:
            for key, value in item.items():
                deeper = isinstance(value, dict) and key != "headers"
                found |= {f"{section}.{key}.{last}" for last in value} if deeper else {f"{section}.{key}"}
    return found


def keys_of_model() -> set[str]:
    found = set()
    for section, kind in get_type_hints(settings.Settings).items():
        inner = {"resources": settings.ResourceSettings, "endpoints": settings.EndpointSettings}.get(section, kind)
        hints = get_type_hints(inner)
        for one in dataclasses.fields(inner):
            name = f"{settings.key_of(section.replace('endpoints', 'endpoint'))}.{settings.key_of(one.name)}"
            deeper = dataclasses.is_dataclass(hints[one.name])
            nested = dataclasses.fields(hints[one.name]) if deeper else ()
            found |= {f"{name}.{settings.key_of(last.name)}" for last in nested} if deeper else {name}
    return found


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_duration_survives_being_written_and_read(seconds: float) -> None:
    assert values.duration(values.format_duration(seconds)) == pytest.approx(seconds, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "1h 5m", "1d", "1e3s", "--1s", "1s2"])
def test_a_text_that_go_does_not_parse_as_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        values.duration(text)


yamlish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resources", "endpoint", "url", "retry", "kind", "apiVersion", "headers", "timeout", "app"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(yamlish)
@example({"resources": [None]})
@example({"resources": [None, {"kind": None}], "endpoint": None})
def test_any_file_either_loads_or_is_refused_with_a_message(content: Any) -> None:
    with contextlib.suppress(errors.ConfigError):
        load(documents.dump(content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: !!binary aGk=", "!!binary"),
        ("x: !!set {a, b}", "!!set"),
        ("x: {null: 3}", "not text"),
        ("x: " + "[" * 300 + "]" * 300, "nested more than 64 levels deep"),
        ("x: &x [*x]", "an alias refers to a node that contains it"),
        ('x: "\\ud800"', "lone surrogate"),
        ('x: {"\\ud800": [1]}', "lone surrogate"),
    ],
)
def test_a_value_that_is_not_plain_is_reported_with_its_type(text: str, message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        loading.parse(text, {})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "http://me:hunter2@"),
        ("http_proxy", "socks4://me:hunter2@proxy"),
        ("ALL_PROXY", "nonsense://hunter2"),
        ("all_proxy", "http://proxy:hunter2"),
        ("ENDPOINT_AUTH_TOKEN", "hunter2\nhunter2"),
    ],
)
def test_an_unusable_environment_variable_of_the_endpoint_is_rejected_by_name(variable: str, value: str) -> None:
    (problem,) = problems(LEAST, **{variable: value})

    assert problem.startswith(variable)
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": "socks5h://proxy"},
        {"HTTPS_PROXY": "nonsense://"},
        {"ALL_PROXY": "nonsense://", "NO_PROXY": "sink"},
        {"ENDPOINT_AUTH_TOKEN": "t0ken\r\n"},
        {"ENDPOINT_AUTH_TOKEN": "a\nb", "ENDPOINT_AUTH_TOKEN_FILE": "/token"},
    ],
)
def test_an_environment_variable_that_the_endpoint_does_not_need_is_no_problem(environ: dict[str, str]) -> None:
    load(LEAST, **environ)


def test_the_directory_of_backups_is_checked_where_it_exists(tmp_path: Path) -> None:
    data, path, forbidden = tmp_path / "data", tmp_path / "backups", tmp_path / "forbidden"
    for each in (data, path, forbidden):
        each.mkdir()
    forbidden.chmod(0o500)

    def doubts(where: Path, interval: str = "1h") -> list[str]:
        text = f"storage: {{dbPath: {data}/events.db}}\nbackup: {{interval: {interval}, path: {where}}}"
        return list(named_files.problems(load(LEAST + text).settings, {}))

    assert doubts(tmp_path / "none") == [f"backup.path: the directory {tmp_path}/none does not exist here"]
    assert doubts(path) == [f"backup.path: {path} is on the volume of the ledger; if it is lost, so are the backups"]
    assert doubts(tmp_path / "none", "0s") == []
    if os.getuid():  # root may write anywhere
        assert doubts(forbidden) == [f"backup.path: the directory {forbidden} is not writable for user {os.getuid()}"]
