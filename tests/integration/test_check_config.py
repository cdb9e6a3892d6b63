"""`beacon check-config` as a person runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beacon import codec, errors
from beacon.codec import documents
from beacon.configuration import loading

GOOD = (
    "resources: [{apiVersion: v1, kind: ConfigMap}]\nendpoint: {url: http://sink/, headers: {X-Key: hunter2hunter2}}\n"
)


def check(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beacon.cli", "check-config", *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)


def test_the_effective_tree_is_printed_with_secrets_masked(tmp_path: Path) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(GOOD)

    run = check(str(path))

    assert run.returncode == errors.EXIT_OK
    shown = documents.load(run.stdout)
    assert shown["endpoint"]["headers"] == {"X-Key": "***"}
    assert shown["endpoint"]["retry"]["maxBackoff"] == "5m"
    assert "hunter2" not in run.stdout + run.stderr
    loading.parse(run.stdout, {})


def test_json_is_printed_on_request_and_includes_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(GOOD)

    run = check("-o", "json", CONFIG_PATH=str(path), ENDPOINT_URL="https://other/")

    assert codec.decode(run.stdout)["endpoint"]["url"] == "https://other/"


@pytest.mark.parametrize("text", ["resources: [", "endpoint: {url: ftp://x}", "\x00", "a: &a [*a]"])
def test_wrong_input_ends_with_78_and_never_with_a_traceback(tmp_path: Path, text: str) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(text)

    run = check(str(path))

    assert run.returncode == errors.EXIT_CONFIG
    assert run.stderr.strip()
    assert "Traceback" not in run.stderr


DOZEN = """
resources:
- {apiVersion: v1, kind: ConfigMap, labelSelector: a=b}
- {apiVersion: v1, kind: ConfigMap}
- {apiVersion: apps/v1, kind: deploy_ment, namespaces: [Upper, fine, lower_, a], knd: x}
- {apiVersion: v1, kind: Secret, namespaces: [a], excludeNamespaces: [b]}
- just text
- {apiVersion: apps/v1, kind: ReplicaSet, namespaces: [a], labelSelector: x}
- {apiVersion: apps/v1, kind: ReplicaSet, namespaces: [a]}
- {apiVersion: apps/v1beta1, kind: ReplicaSet, namespaces: [c]}
annotation: {key: 'a b', key: twice}
app: {logLevel: loud, clusterName: "\\ud800"}
endpoint:
  url: ftp://sink/
  timeout: 30
  headers: {Host: x, 'a b': y}
  tls: {certFile: /nowhere/tls.crt, caFile: /nowhere/ca.crt}
  retry: {jitter: !!float none}
storage: {dbPath: events.db}
metrics: {port: 8080, path: /ready}
unknown: 1
---
second: document
"""


def test_every_problem_of_every_kind_is_reported_in_one_round(tmp_path: Path) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(DOZEN)

    run = check(
        str(path),
        ENDPOINT_AUTH_TOKEN="two\nlines",
        HTTPS_PROXY="gopher://proxy/",
        ENDPOINT_AUTH_TOKEN_FILE="",
    )

    assert run.returncode == errors.EXIT_CONFIG
    expected = [
        f"{path} is not YAML: line 11, column 26: duplicate key 'key'",
        f"{path} is not YAML: line 18, column 19: a value does not match its tag",
        f"{path} is not YAML: line 22, column 1: a second document starts here; only one is allowed",
        f"{path} holds text that is not Unicode (a lone surrogate)",
        "app.logLevel: 'loud' must be one of debug, info, warn, error",
        "resources[2].namespaces: 'Upper' must be",
        "resources[2].knd: no such key; did you mean kind?",
        "resources[4]: 'just text' must be a mapping",
        "endpoint.url: 'ftp://sink/' must be an http or https URL",
        "endpoint.timeout: '30' must be a duration",
        "endpoint.headers: 'Host' belongs to the connection and can't be set; 'a b' is not a header's name",
        "unknown: no such key",
        "endpoint.tls: certFile and keyFile must be set together",
        "health, metrics: livenessPath, readinessPath and path must differ on one port",
        "app.clusterName: '?' must consist of",
        "storage.dbPath: 'events.db' must be an absolute path",
        "annotation.key: 'a b' must be an annotation's name",
        "resources[2].kind: 'deploy_ment' must be a kind",
        "resources[3].excludeNamespaces: can't be combined with namespaces",
        "resources: two entries of ConfigMap match different objects of all namespaces",
        "resources: two entries of ReplicaSet match different objects of namespace 'a'",
        "resources: the entries of ReplicaSet name different versions",
        "HTTPS_PROXY: proxies of this kind are not supported",
        "ENDPOINT_AUTH_TOKEN contains a line feed",
        "warning: endpoint.tls.caFile: /nowhere/ca.crt",
    ]
    lines = run.stderr.splitlines()
    missing = [text for text in expected if not any(line.startswith(text) for line in lines)]
    assert missing == [], run.stderr
    assert len(lines) == len(expected), run.stderr
    assert "; 'lower_' must be a namespace's name" in run.stderr


def test_what_follows_an_error_of_the_syntax_is_unknown_but_the_environment_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text("a: 1\na: 2\nresources: [\n")

    run = check(str(path), ENDPOINT_AUTH_TOKEN="two\nlines", ENDPOINT_AUTH_TOKEN_FILE="")

    lines = run.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [f"{path} is not YAML"]
    assert lines[-1].startswith("ENDPOINT_AUTH_TOKEN contains")


def test_files_that_can_not_be_used_here_are_warnings(tmp_path: Path) -> None:
    path, empty = tmp_path / "beacon.yaml", tmp_path / "empty"
    empty.touch()
    tls = f"tls: {{caFile: {empty}, certFile: /nowhere/crt, keyFile: {empty}}}"
    path.write_text(GOOD.replace("url:", f"{tls}, url:"))

    run = check(str(path), ENDPOINT_AUTH_TOKEN_FILE=str(empty))

    assert run.returncode == errors.EXIT_OK
    starts = [
        f"warning: {name}" for name in ("endpoint.tls.caFile", "endpoint.tls.certFile", "ENDPOINT_AUTH_TOKEN_FILE")
    ]
    assert [line[: len(start)] for line, start in zip(run.stderr.splitlines(), starts, strict=True)] == starts


def test_the_placeholder_of_the_examples_is_reported(tmp_path: Path) -> None:
    path, file = tmp_path / "beacon.yaml", tmp_path / "token"
    file.write_text("replace-me\n")
    path.write_text(GOOD)
    reason = "contains `replace-me`, the placeholder of the examples, which is never sent: replace it\n"

    given = check(str(path), ENDPOINT_AUTH_TOKEN="replace-me", ENDPOINT_AUTH_TOKEN_FILE="")
    read = check(str(path), ENDPOINT_AUTH_TOKEN_FILE=str(file))

    assert (given.returncode, given.stderr) == (errors.EXIT_CONFIG, f"ENDPOINT_AUTH_TOKEN {reason}")
    assert (read.returncode, read.stderr) == (0, f"warning: ENDPOINT_AUTH_TOKEN_FILE {file} {reason}")


def test_warnings_go_to_the_error_stream(tmp_path: Path) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(GOOD + "retention: {cleanupInterval: 100ms}\n")

    run = check(str(path))

    assert run.stderr.startswith("warning: retention.cleanupInterval")
    documents.load(run.stdout)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://sink/p?token=hunter2hunter2", "https://sink/p?token=***"),
        ("https://sink/p?a=hunter2&hunter2&hunter2==", "https://sink/p?a=***&***&***"),
        ("https://sink/?", "https://sink/?"),
        ("https://sink/", "https://sink/"),
    ],
)
def test_values_of_the_urls_query_are_masked(tmp_path: Path, url: str, shown: str) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(GOOD)

    runs = [check("-o", form, str(path), ENDPOINT_URL=url) for form in ("yaml", "json")]

    assert [documents.load(run.stdout)["endpoint"]["url"] for run in runs] == [shown, shown]
    loading.parse(runs[0].stdout, {})


SECRET_URL = "http://h/p?token=hunter2"


@pytest.mark.parametrize(
    "endpoint",
    [
        f"'{SECRET_URL}#f'",
        f"['{SECRET_URL}']",
        f"{{url: '{SECRET_URL} x'}}",
        f"{{url: ['{SECRET_URL}']}}",
        f"{{uri: '{SECRET_URL}'}}",
        f"{{'{SECRET_URL}': }}",
        f"{{url: 'http://h/', method: '{SECRET_URL}'}}",
        f"{{url: 'http://h/', timeout: '{SECRET_URL}'}}",
        "{url: 'http://h/', headers: [hunter2]}",
        "{url: 'http://h/', headers: 'X-Key: hunter2'}",
        "hunter2",
        "{url: 'http://u:hunter2@h/'}",
    ],
)
def test_no_error_repeats_a_secret(tmp_path: Path, endpoint: str) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(f"resources: [{{apiVersion: v1, kind: ConfigMap}}]\nendpoint: {endpoint}\n")

    run = check(str(path))

    assert run.returncode == errors.EXIT_CONFIG
    assert "hunter2" not in run.stdout + run.stderr


def test_each_of_several_endpoints_is_shown_with_its_selection_and_one_that_selects_nothing_is_a_warning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "beacon.yaml"
    path.write_text(
        "resources: [{apiVersion: v1, kind: ConfigMap}]\n"
        "endpoints:\n"
        "- {name: all, url: 'http://a/'}\n"
        "- {name: none, url: 'http://b/', select: {names: [x]}, exclude: {names: ['*']}}\n"
    )

    table = check("-o", "table", str(path))
    document = documents.load(check(str(path)).stdout)

    assert table.returncode == errors.EXIT_OK
    rows = dict(line.split(maxsplit=1) for line in table.stdout.splitlines()[1:])
    assert (rows["endpoints[0].name"], rows["endpoints[1].name"]) == ('"all"', '"none"')
    assert (rows["endpoints[1].select.names"], rows["endpoints[1].exclude.names"]) == ('["x"]', '["*"]')
    assert table.stderr.startswith("warning: endpoints[1] (none): select and exclude leave no object")
    assert [one["select"]["names"] for one in document["endpoints"]] == [[], ["x"]]
