"""Every command takes the same options for the same thing."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from beacon import wire
from beacon.cli import __main__ as cli
from beacon.cli import endpoint_choice, filters, output, search
from beacon.cli.commands import tail
from beacon.cli.commands.explain import target
from beacon.domain import model

PRINTS_A_SCRIPT = {"completion"}
READS_A_CONFIGURATION = {"check-config", "plan", "rbac"}
CHANGES_OR_SHOWS_DELIVERIES = {"discard", "events", "explain", "redeliver", "status", "tail"}
ACTS_ON_AN_ENDPOINT = {"pause", "resume", "test-event"}
READS_A_CLUSTER = {"explain", "plan", "rbac"}
LONG = {"-o": "--output", "-n": "--namespace", "-w": "--watch", "-y": "--yes"}
SHEEP = wire.ScopeStatistics(label="sheep.farm.io@a", name="Sheep.farm.io@a", listed=True, position=1, position_us=1)


def command(name: str) -> click.Command:
    group = cli.main
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def options(name: str) -> Iterator[click.Option]:
    yield from (one for one in command(name).params if isinstance(one, click.Option))


def option(name: str, spelling: str) -> click.Option | None:
    return next((one for one in options(name) if spelling in one.opts), None)


@pytest.mark.parametrize("name", sorted(set(cli.NAMES) - PRINTS_A_SCRIPT))
def test_every_command_has_the_same_output_formats(name: str) -> None:
    found = option(name, "--output")

    assert found is not None
    assert found.opts == ["-o", "--output"]
    assert isinstance(found.type, click.Choice)
    assert list(found.type.choices) == ["table", "wide", "json", "yaml"]
    assert found.show_default


@pytest.mark.parametrize("name", cli.NAMES)
def test_a_short_option_means_the_same_everywhere(name: str) -> None:
    for one in options(name):
        for short in (spelling for spelling in one.opts if len(spelling) == 2):
            assert LONG[short] in one.opts
        for long, spelled in ((LONG[short], short) for short in LONG if LONG[short] in one.opts):
            assert spelled in one.opts, long


@pytest.mark.parametrize("name", cli.NAMES)
def test_a_command_that_reads_a_configuration_or_a_cluster_has_the_options_for_it(name: str) -> None:
    assert (option(name, "--config") is not None) is (name in READS_A_CONFIGURATION)
    for spelling in ("--kubeconfig", "--context"):
        assert (option(name, spelling) is not None) is (name in READS_A_CLUSTER)


@pytest.mark.parametrize("name", cli.NAMES)
def test_a_command_for_deliveries_or_for_an_endpoint_takes_its_name(name: str) -> None:
    found = option(name, "--endpoint")

    assert (found is not None) is (name in CHANGES_OR_SHOWS_DELIVERIES | ACTS_ON_AN_ENDPOINT)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("form", ["table", "wide"])
def test_a_table_names_the_endpoint_where_there_are_several_and_always_if_it_is_wide(form: str, several: bool) -> None:
    columns = search.Columns(form=form, several=several)

    assert len(columns.head) == len(columns.row(summary())) == len(set(columns.head))
    shown = dict(zip(columns.head, columns.row(summary(endpoint="billing")), strict=True)).get("ENDPOINT")
    assert shown == ("billing" if several or form == "wide" else None)


@pytest.mark.parametrize(
    ("form", "several", "expected"),
    [
        ("table", False, ""),
        ("table", True, "  endpoint default"),
        ("wide", False, "  endpoint default{}"),
        ("wide", True, "  endpoint default{}"),
    ],
)
def test_a_line_of_tail_names_the_endpoint_where_there_are_several(form: str, several: bool, expected: str) -> None:
    event = wire.RecentEvent(of=summary(cause="c", source="s"))
    request = wire.RecentEvent(of=summary(), attempt=1, code="200")

    assert tail.line(event, form, several=several).endswith("#1 e" + expected.format(" cause c source s"))
    assert tail.line(request, form, several=several).endswith("attempt 1" + expected.format(" event e"))


@pytest.mark.parametrize(
    ("chosen", "names", "problem"),
    [
        ("", ["a"], ""),
        ("a", ["a"], ""),
        ("b", ["b", "a"], ""),
        ("", ["b", "a"], "there are several endpoints: name one with --endpoint: a, b"),
        ("c", ["b", "a"], "no endpoint 'c' is known: the endpoints are a, b"),
    ],
)
def test_an_endpoint_is_the_named_or_the_only_one(chosen: str, names: list[str], problem: str) -> None:
    if problem:
        with pytest.raises(click.UsageError, match=problem):
            endpoint_choice.only(chosen, names)
    else:
        assert endpoint_choice.only(chosen, names) == (chosen or "a")


@pytest.mark.parametrize(("form", "expected"), [("text", "table"), ("wide", "wide"), ("json", "json")])
def test_the_former_name_of_a_format_is_accepted_and_not_offered(form: str, expected: str) -> None:
    @click.command()
    @output.option
    def probe(output: str) -> None:
        click.echo(output)

    assert CliRunner().invoke(probe, ["-o", form]).output == f"{expected}\n"
    assert "text" not in CliRunner().invoke(probe, ["--help"]).output


def test_an_unknown_format_is_wrong_use() -> None:
    result = CliRunner().invoke(command("events"), ["-o", "xml"])

    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("deploy", "Deployment"),
        ("DEPLOYMENTS", "Deployment"),
        ("deployments.apps", "Deployment"),
        ("sheep", "Sheep"),
        ("SHEEP.farm.io", "Sheep"),
        ("Goat", "Goat"),
    ],
)
def test_a_kind_is_found_by_every_spelling(word: str, kind: str) -> None:
    assert filters.kind_of(word, (SHEEP,)) == kind


@pytest.mark.parametrize("text", ["cafe", "DEADBEEF", "0b5e0f2c"])
def test_the_beginning_of_an_id_is_not_taken_for_a_type(text: str) -> None:
    assert target.parse(text, None, None).what == text


@pytest.mark.parametrize("text", ["deployment", "abc", "feed2x-"])
def test_a_word_that_is_no_id_needs_a_name(text: str) -> None:
    if text.isalpha():
        with pytest.raises(click.UsageError, match="name of the"):
            target.parse(text, None, None)
    else:
        assert target.parse(text, None, None).what == text


def summary(**changes: object) -> wire.DeliverySummary:
    values: dict[str, object] = {
        "delivery": 1, "generation": 0, "state": model.DeliveryState.READY, "endpoint": "default", "sequence": 1,
        "event_id": "e", "type": model.EventType.CREATED, "cause": "", "source": "", "group": "", "kind": "Pod",
        "namespace": "ns", "name": "a", "uid": "u", "detected_us": 100, "attempts": 0, "requests": 0,
        "next_attempt_us": 0, "settled_us": 0, "code": "", "error": "", "reason": "",
    }  # fmt: skip
    return wire.DeliverySummary(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "other"),
    [
        ({"states": (model.DeliveryState.READY,)}, {"state": model.DeliveryState.FAILED}),
        ({"types": (model.EventType.CREATED,)}, {"type": model.EventType.DELETED}),
        ({"kind": "Pod"}, {"kind": "Node"}),
        ({"namespace": "ns"}, {"namespace": ""}),
        ({"name": "a"}, {"name": "b"}),
        ({"uid": "u"}, {"uid": "v"}),
        ({"endpoint": "default"}, {"endpoint": "billing"}),
        ({"since_us": 100}, {"detected_us": 99}),
        ({"until_us": 101}, {"detected_us": 101}),
    ],
)
def test_a_filter_matches_what_fulfills_each_condition(condition: dict[str, object], other: dict[str, object]) -> None:
    selection = wire.DeliveryFilter(**condition)  # type: ignore[arg-type]

    assert filters.matches(wire.DeliveryFilter(), summary(**other))
    assert filters.matches(selection, summary())
    assert not filters.matches(selection, summary(**other))
