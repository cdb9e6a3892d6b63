"""No text that others wrote acts on the terminal of the person who asked."""

import json
import re
from pathlib import Path

import click
import pytest
import yaml

from beacon.boundary import visible
from beacon.cli import output, terminal
from beacon.cli.commands.status import rendering

EVIL = "a\x1b[2J\u202eb\x9b31m\nforged: line\r\x07\u200b"
COMMANDS = Path(terminal.__file__).parent


def test_a_line_shows_control_characters_escaped_and_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_line(f"\n\ntitle {EVIL}", err=True)

    shown = capsys.readouterr().err
    assert visible.is_safe(shown)
    assert shown == "\n\ntitle a\\x1b[2J\\u202eb\\x9b31m\\nforged: line\\r\\x07\\u200b\n"


def test_a_styled_line_holds_no_sequence_but_its_own_style() -> None:
    line = terminal.styled(f"\n{EVIL}", bold=True)

    assert line.startswith("\n\x1b[1m")
    assert visible.is_safe(click.unstyle(line))
    assert re.findall(r"\x1b\[\d+m", line) == ["\x1b[1m", "\x1b[0m"]


@pytest.mark.parametrize("form", output.FORMS)
def test_each_form_of_an_answer_is_safe_and_programs_get_the_value(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output.show(form, {"name": EVIL}, output.table(("NAME", EVIL), [(EVIL, "x")]))

    shown = capsys.readouterr().out
    assert visible.is_safe(shown)
    if form not in ("table", "wide"):
        assert (json.loads if form == "json" else yaml.safe_load)(shown) == {"name": EVIL}


def test_text_without_such_characters_is_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    for form in output.FORMS:
        output.show(form, "Größe 日本語 🙂", ["Größe 日本語 🙂"])

    assert capsys.readouterr().out.count("Größe 日本語 🙂") == len(output.FORMS)


def test_the_status_is_safe_whatever_the_cluster_holds(capsys: pytest.CaptureFixture[str]) -> None:
    seen = {
        "wrong": [EVIL],
        "store": {"state": EVIL, "why": EVIL},
        "processes": [],
        "scopes": [{"label": EVIL, "listed": True, "position": 1, "position_us": 0}],
        "deliveries": [],
        "components": [{"component": "endpoint", "endpoint": EVIL, "state": EVIL, "since": EVIL}],
        "gaps": [],
        "storage": {},
    }

    for line in rendering.lines(seen):
        terminal.print_line(line)

    assert visible.is_safe(capsys.readouterr().out)


def test_every_command_prints_through_this_door() -> None:
    printing = {
        path.name: re.findall(
            r"click\.(?:echo|secho|echo_via_pager|style)\(|\bprint\(|sys\.std(?:out|err)\.write", text
        )
        for path in COMMANDS.rglob("*.py")
        if path.name != "terminal.py"
        for text in [path.read_text(encoding="utf-8")]
    }

    # The entry prints help and escapes itself, because --help must be quick.
    assert {name: len(calls) for name, calls in printing.items() if calls} == {"__main__.py": 3}
