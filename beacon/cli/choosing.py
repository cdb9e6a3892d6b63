"""What `redeliver` and `discard` have in common: choosing deliveries, asking before more than one, and the doing."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from beacon import bus, errors, wire
from beacon.cli import filters, finding, output

_PATIENCE_S = 10.0
_AT_ONCE = 200  # pairs that are sent at a time; the store takes fewer
_SHOWN = 20  # refusals that are listed for people
_COMMON = (
    click.argument("ids", nargs=-1, metavar="[EVENT_ID]..."),
    filters.options,
    click.option("--dry-run", is_flag=True, help="Only show which are meant."),
    click.option("-y", "--yes", is_flag=True, help="Don't ask."),
    output.option,
)
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for: `doing` names it for people, "redelivered" for instance."""

    request: Callable[[Pairs], wire.Redeliver | wire.Discard]
    doing: str
    states: tuple[str, ...]  # those that are meant when none is named


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the common options."""
    for add in reversed(_COMMON):
        command = add(command)
    return command


def carry_out(client: bus.Client, wish: Wish, given: dict[str, Any]) -> int:
    """Choose, ask, do, and say what came of it; gives the exit code."""
    form, dry_run, yes = given.pop("output"), given.pop("dry_run"), given.pop("yes")
    ids: tuple[str, ...] = given.pop("ids")
    if not ids and not any(given[name] for name in given):
        raise click.UsageError(
            "name events by their ids, or choose them with filters: --state failed means all of those"
        )
    if not ids and not given["state"]:
        given["state"] = wish.states
    chosen = list(finding.walk(client, filters.selection(given, ids)))
    missing = sorted(set(ids) - {one.event_id for one in chosen})
    if dry_run:
        output.show(form, [finding.plain(one) for one in chosen], finding.lines(chosen))
        click.echo(f"{len(chosen)} would be {wish.doing}, as far as their objects' order allows it.", err=True)
        return _missed(missing)
    if len(chosen) > 1 and not yes:
        click.confirm(f"{len(chosen)} deliveries are meant. Are they to be {wish.doing}?", abort=True, err=True)
    refused = _do(client, wish, chosen)
    known = {one.delivery: one for one in chosen}
    plain = {
        "done": len(chosen) - len(refused),
        "refused": [{"id": known[one.delivery].event_id, "why": one.why} for one in refused],
    }
    output.show(form, plain, _lines(wish, plain))
    return _missed(missing) or (errors.EXIT_FAILURE if refused else errors.EXIT_OK)


def _do(client: bus.Client, wish: Wish, chosen: Sequence[wire.Listed]) -> list[wire.NotDone]:
    """Send what is chosen in bounded parts, so that nobody else waits; each part may be sent twice and do no harm."""
    refused: list[wire.NotDone] = []
    at = 0
    while at < len(chosen):
        pairs = tuple((one.delivery, one.generation) for one in chosen[at : at + _AT_ONCE])
        reply = client.try_call(wish.request(pairs), timeout_s=_PATIENCE_S)
        assert isinstance(reply, wire.Acted)  # noqa: S101  the wire gives nothing else
        refused += reply.refused
        at += reply.taken
        if sys.stderr.isatty():
            click.echo(f"\r{at} of {len(chosen)}", nl=at >= len(chosen), err=True)
    return refused


def _lines(wish: Wish, plain: dict[str, Any]) -> list[str]:
    refused = plain["refused"]
    lines = [f"{plain['done']} {wish.doing}, {len(refused)} refused"]
    lines += [f"  {one['id']}: {one['why']}" for one in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"  and {len(refused) - _SHOWN} more (-o json lists all)")
    return lines


def _missed(missing: Sequence[str]) -> int:
    for one in missing:
        click.echo(f"no event has the id {one}", err=True)
    return errors.EXIT_FAILURE if missing else errors.EXIT_OK
