"""The common filters, and the forms of an answer, as a command gets them."""

import time
from datetime import UTC, datetime
from typing import Any

import click
import pytest
from click.testing import CliRunner

from beacon import wire
from beacon.cli import filters, output, terminal
from beacon.cli.commands import events
from beacon.cli.commands.explain import command as explain
from beacon.domain import model


def selected(*arguments: str) -> tuple[wire.DeliveryFilter | None, str]:
    """Return the filter of the arguments, and the error message if they are invalid."""
    made: list[wire.DeliveryFilter] = []

    @click.command()
    @filters.options
    def command(**given: Any) -> None:
        made.append(filters.selection(given))
        assert given == {}

    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == (0 if made else 2)
    return (made[0] if made else None), result.output


def test_without_filters_everything_is_meant() -> None:
    assert selected()[0] == wire.DeliveryFilter()


def test_every_filter_arrives() -> None:
    given, _ = selected(
        *("--state", "failed", "--state", "ready", "--type", "created", "--kind", "Pod", "-n", "", "--name", "a"),
        *(
            "--uid",
            "u",
            "--endpoint",
            "billing",
            "--since",
            "2026-01-31T12:00:00Z",
            "--until",
            "2026-01-31T14:00:00+01:00",
        ),
    )

    noon_us = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1_000_000)
    assert given == wire.DeliveryFilter(
        states=(model.DeliveryState.FAILED, model.DeliveryState.READY),
        types=(model.EventType.CREATED,),
        kind="Pod",
        namespace="",
        name="a",
        uid="u",
        endpoint="billing",
        since_us=noon_us,
        until_us=noon_us + 3_600_000_000,
    )


@pytest.mark.parametrize(("text", "ago_s"), [("90s", 90), ("2h", 7200), ("1d12h", 129_600)])
def test_an_instant_may_be_a_time_ago(text: str, ago_s: int) -> None:
    given, _ = selected("--since", text)

    assert given is not None
    assert time.time() - given.since_us / 1e6 == pytest.approx(ago_s, abs=30)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "'yesterday' is neither"),
        (("--since", "9999999999d"), "'9999999999d' is before 1970"),
        (("--since", "9" * 13 + "s"), "is neither"),
        (("--until", "9" * 5000 + "d"), "is neither"),
        (("--since", "0001-01-01T00:00:00+14:00"), "is before 1970"),
        (("--since", "\u0663h"), "is neither"),
        (("--state", "lost"), "'lost' is not one of 'queued'"),
    ],
)
def test_an_invalid_filter_is_reported(arguments: tuple[str, str], said: str) -> None:
    given, text = selected(*arguments)

    assert given is None
    assert said in text


@pytest.mark.parametrize("number", ["9223372036854775807", "9" * 400, "-1", "1e3"])
@pytest.mark.parametrize("command", [events.command, explain.command])
def test_a_limit_that_no_list_has_is_wrong_use(command: click.Command, number: str) -> None:
    result = CliRunner().invoke(command, ["--limit", number, "Deployment", "a/b"])

    assert result.exit_code == 2
    assert "--limit" in result.output


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 400])
def test_a_delivery_that_no_ledger_has_is_wrong_use(number: str) -> None:
    result = CliRunner().invoke(events.command, ["--after", number])

    assert result.exit_code == 2
    assert "--after" in result.output


def test_a_table_is_aligned_and_only_its_head_is_bold() -> None:
    lines = list(output.table(("A", "LONGER"), [("1", "2"), ("three", "")]))

    assert [click.unstyle(line) for line in lines] == ["A      LONGER", "1      2", "three"]
    assert [line != click.unstyle(line) for line in lines] == [True, False, False]
    assert list(output.table(("A",), [])) == []


def test_no_colour_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.use_color() is None
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.use_color() is False


@pytest.mark.parametrize(("form", "said"), [("table", "one\n"), ("json", '{\n  "a": 1\n}\n'), ("yaml", "a: 1\n")])
def test_each_form_is_shown(form: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.show(form, {"a": 1}, ["one"])

    assert capsys.readouterr().out == said
