"""The text format of the log: every line can be parsed back, and every process uses it from its first line on."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.boundary import visible
from beacon.runtime import text_log
from tests import text_lines
from tests.unit import scripts

HEAD = {"ts": "2026-01-01T00:00:00.000000Z", "level": "info", "process": "store"}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(TEXTS, st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), TEXTS, max_size=4))
def test_every_line_is_parsed_back_to_the_same_values(event: str, fields: dict[str, str]) -> None:
    fields = {f"x{name}": value for name, value in fields.items()}

    line = text_log.render(HEAD | {"event": event} | fields, json.dumps)

    assert visible.is_safe(line)
    assert "\n" not in line
    assert text_lines.parse(line) == HEAD | {"event": event} | fields


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/data", "/data"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "hi"', r'"say \"hi\""'),
        ("a\nb", r'"a\nb"'),
        ("a=b", '"a=b"'),
        ("C:\\x", "C:\\x"),
        ("ü", "ü"),
        (3, "3"),
        (None, "null"),
        (["a b", 1], r'"[\"a b\", 1]"'),
    ],
)
def test_a_value_is_quoted_only_where_that_is_necessary(value: object, written: str) -> None:
    line = text_log.render(HEAD | {"event": "disk filled", "value": value}, json.dumps)

    assert line == f"2026-01-01T00:00:00.000000Z INFO    store    disk filled  value={written}"


def test_a_line_that_is_too_long_is_shortened_within_its_values() -> None:
    done = scripts.run(
        """
        from beacon.runtime import log
        log.configure("store", format="text", app="my beacon")
        log.get().info("failed", traceback="begin " + '"\\n' * 5000 + " end", kept="two words", items=list(range(3000)))
        """
    )

    fields = text_lines.parse(done.stdout.decode().rstrip("\n"))
    assert len(done.stdout) <= 4096
    assert (fields["process"], fields["kept"], fields["truncated"]) == ("my beacon/store", "two words", "true")
    assert fields["traceback"].startswith("begin ")
    assert fields["traceback"].endswith(" end")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("app:\n  logFormat: text\n", "text"),
        ("app: {name: a, logFormat: text}", "text"),
        ('{"app": {"name": "a#b", "logFormat" : "text"}}', "text"),
        ("app:\n  logFormat: 'text' # for people\n", "text"),
        ("app:\n  name: a#b\n  logFormat:\n    text\n", "text"),
        ("resources: oops\nfoo: [\napp:\n  logFormat: text\n", "text"),
        ("app:\n  logFormat: json # or text\n", "json"),
        ("app:\n  # logFormat: text\n  name: a # logFormat: text\n", "json"),
        ("app:\n  logFormat: textual\n", "json"),
        ("endpoint:\n  headers: {X-logFormat: text}\n", "json"),
        ("", "json"),
    ],
)
def test_the_format_is_found_before_the_configuration_is_validated(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)

    assert text_log.expected_format({"CONFIG_PATH": str(path)}) == expected


def test_without_a_readable_configuration_the_format_is_json(tmp_path: Path) -> None:
    assert text_log.expected_format({"CONFIG_PATH": str(tmp_path / "missing")}) == "json"
    assert text_log.expected_format({"CONFIG_PATH": str(tmp_path)}) == "json"


@pytest.mark.parametrize(
    "code",
    [
        "from beacon.sentinel import stderr_log; stderr_log.write('error', 'pod ended', reason='two words')",
        "import sys; from beacon.runtime import supervisord_plugin; supervisord_plugin.make(None); print('two words')",
        """
        from beacon import errors; from beacon.runtime import process
        def main(context): raise errors.ConfigError(["two words"])
        process.run("store", main)
        """,
    ],
)
def test_every_process_uses_the_configured_format_from_its_first_line_on(tmp_path: Path, code: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("app: {logFormat: text}")
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)

    done = scripts.run(code, environ={"CONFIG_PATH": str(path), "BEACON_RUN_DIR": str(run_dir)})

    lines = [text_lines.parse(line) for line in (done.stdout + done.stderr).decode().splitlines()]
    assert lines
    assert any("two words" in line.values() for line in lines)
