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
