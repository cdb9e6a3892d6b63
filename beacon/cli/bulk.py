"""What `redeliver` and `discard` have in common: choosing deliveries, asking before more than one, and the doing."""

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from beacon import bus, errors, wire
from beacon.cli import filters, output, search, terminal

_PATIENCE_S = 10.0
_AT_ONCE = 200  # pairs that are sent at a time; the store takes fewer
_SHOWN = 20  # refusals that are listed for people
_SHOWN_DRY = 1000
_COMMON = (
    click.argument("ids", nargs=-1, metavar="[EVENT_ID]..."),
    filters.options,
    click.option("--dry-run", is_flag=True, help="Only show which are meant."),
    click.option("-y", "--yes", is_flag=True, help="Don't ask."),
    output.option,
)
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRequest:
    """What is asked for: `doing` names it for people, "redelivered" for instance."""

    request: Callable[[Pairs], wire.Redeliver | wire.Discard]
    doing: str
    states: tuple[str, ...]  # those that are meant when none is named


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the common options."""
    for add in reversed(_COMMON):
        command = add(command)
    return command


def carry_out(client: bus.Client, wish: BulkRequest, given: dict[str, Any]) -> int:
    """Choose, ask, do, and say what came of it; gives the exit code."""
    form, dry_run, yes = given.pop("output"), given.pop("dry_run"), given.pop("yes")
    ids: tuple[str, ...] = given.pop("ids")
    if not ids and not any(given[name] for name in given):
        raise click.UsageError(
            "name events by their ids, or choose them with filters: --state failed means all of those"
        )
    if not ids and not given["state"]:
        given["state"] = wish.states
    selection = filters.selection(given, ids)
    if dry_run:
        return _show_only(client, wish, selection, form)
    chosen, missing = _choose(client, selection)
    if len(chosen) > 1 and not yes:
        click.confirm(f"{len(chosen)} deliveries are meant. Are they to be {wish.doing}?", abort=True, err=True)
    done, refused = _do(client, wish, chosen)
    plain = {"done": done, "refused": refused}
    output.show(form, plain, _lines(wish, plain))
    return _missed(missing) or (errors.EXIT_FAILURE if refused else errors.EXIT_OK)


def _choose(client: bus.Client, selection: wire.DeliveryFilter) -> tuple[Pairs, list[str]]:
    """Say what exactly is meant: no more is kept of each than that, because they may be many."""
    missing = set(selection.ids)
    pairs = []
    for one in search.walk(client, selection):
        pairs.append((one.delivery, one.generation))
        missing.discard(one.event_id)
    return tuple(pairs), sorted(missing)


def _show_only(client: bus.Client, wish: BulkRequest, selection: wire.DeliveryFilter, form: str) -> int:
    chosen, missing = _choose(client, selection)
    shown = list(itertools.islice(search.walk(client, selection), _SHOWN_DRY))
    output.show(form, [search.plain(one) for one in shown], search.lines(shown))
    first = f" (the first {len(shown)} are shown)" if len(shown) < len(chosen) else ""
    terminal.say(f"{len(chosen)} would be {wish.doing}, as far as their objects' order allows it{first}.", err=True)
    return _missed(missing)


def _do(client: bus.Client, wish: BulkRequest, chosen: Pairs) -> tuple[int, list[dict[str, str]]]:
    """Do it to what was agreed upon, in bounded parts; a part may be sent twice and do no harm."""
    at, done = 0, 0
    refused: list[dict[str, str]] = []
    while at < len(chosen):
        try:
            reply = client.try_call(wish.request(chosen[at : at + _AT_ONCE]), timeout_s=_PATIENCE_S)
        except errors.TransientError:
            terminal.say(f"{done} of {len(chosen)} {wish.doing}; give the same command again for the rest.", err=True)
            raise
        done += reply.done
        refused += [{"id": one.event_id, "why": one.why} for one in reply.refused]
        at += reply.taken
        if sys.stderr.isatty():
            click.echo(f"\r{at} of {len(chosen)}", nl=at >= len(chosen), err=True)  # numbers alone
    return done, refused


def _lines(wish: BulkRequest, plain: dict[str, Any]) -> list[str]:
    refused = plain["refused"]
    lines = [f"{plain['done']} {wish.doing}, {len(refused)} refused"]
    lines += [f"  {one['id']}: {one['why']}" for one in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"  and {len(refused) - _SHOWN} more (-o json lists all)")
    return lines


def _missed(missing: Sequence[str]) -> int:
    for one in missing:
        terminal.say(f"no event that is meant has the id {one}", err=True)
    return errors.EXIT_FAILURE if missing else errors.EXIT_OK
