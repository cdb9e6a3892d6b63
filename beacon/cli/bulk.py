"""The common part of `redeliver` and `discard`: select deliveries, confirm, and change them in bounded requests."""

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from beacon import bus, errors, wire
from beacon.cli import actor, endpoint_choice, filters, output, progress, search, terminal

_TIMEOUT_S = 10.0
_BATCH = 200  # pairs in one request; the store may apply fewer
_SHOWN = 20  # refusals listed in a table
_SHOWN_DRY = 1000
_COMMON = (
    click.argument("ids", nargs=-1, metavar="[EVENT_ID]..."),
    filters.options,
    click.option("--dry-run", is_flag=True, help="Only list the selected deliveries."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation."),
    output.option,
)
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """The change to apply; `past` names it in messages, for example "redelivered"."""

    request: Callable[[Pairs, wire.OperatorCommand], wire.Redeliver | wire.Discard]
    past: str
    states: tuple[str, ...]  # selected when the operator names no state


def options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the common options to a command."""
    for add in reversed(_COMMON):
        command = add(command)
    return command


def carry_out(client: bus.Client, action: BulkAction, params: dict[str, Any]) -> int:
    """Select, confirm, apply and print the result; return the exit code."""
    form, dry_run, yes = params.pop("output"), params.pop("dry_run"), params.pop("yes")
    ids: tuple[str, ...] = params.pop("ids")
    if not ids and not any(params[name] for name in params):
        raise click.UsageError(
            "name events by their ids, or select them with filters: --state failed selects all of those"
        )
    if not ids and not params["state"]:
        params["state"] = action.states
    selection = search.resolve(client, filters.selection(params, ids))
    several = endpoint_choice.are_several(client, selection.endpoint)
    if dry_run:
        return _show_only(client, action, selection, search.Columns(form=form, several=several))
    selected, missing = _select(client, selection)
    if len(selected) > 1 and not yes:
        click.confirm(f"{len(selected)} deliveries will be {action.past}. Continue?", abort=True, err=True)
    done, refused = _apply(client, action, selected)
    plain = {"done": done, "refused": refused}
    output.show(form, plain, _lines(action, plain, several=several))
    return _report_missing(missing) or (errors.EXIT_FAILURE if refused else errors.EXIT_OK)


def _select(client: bus.Client, selection: wire.DeliveryFilter) -> tuple[Pairs, list[str]]:
    """Return the selected deliveries and the ids without one; only two numbers of each are kept, they may be many."""
    missing = set(selection.ids)
    pairs = []
    for one in search.walk(client, selection):
        pairs.append((one.delivery, one.generation))
        missing.discard(one.event_id)
    return tuple(pairs), sorted(missing)


def _show_only(client: bus.Client, action: BulkAction, selection: wire.DeliveryFilter, columns: search.Columns) -> int:
    selected, missing = _select(client, selection)
    shown = list(itertools.islice(search.walk(client, selection), _SHOWN_DRY))
    output.show(columns.form, [search.plain(one) for one in shown], columns.table(shown))
    cut = f" (the first {len(shown)} are shown)" if len(shown) < len(selected) else ""
    terminal.print_line(
        f"{len(selected)} would be {action.past}, unless the order of their objects' events forbids it{cut}.", err=True
    )
    return _report_missing(missing)


def _apply(client: bus.Client, action: BulkAction, selected: Pairs) -> tuple[int, list[dict[str, str]]]:
    """Apply the action to the confirmed deliveries in batches; a batch that is sent twice is applied once."""
    offset, done = 0, 0
    operation, who = str(uuid.uuid4()), actor.describe()
    refused: list[dict[str, str]] = []
    with progress.progress(action.past) as show:
        while offset < len(selected):
            batch = selected[offset : offset + _BATCH]
            left = len(selected) - offset - len(batch)
            request = action.request(batch, wire.OperatorCommand(id=operation, actor=who, left=left))
            try:
                reply = client.try_call(request, timeout_s=_TIMEOUT_S)
            except errors.TransientError:
                terminal.print_line(
                    f"{done} of {len(selected)} {action.past}; repeat the same command for the rest.", err=True
                )
                raise
            done += reply.done
            refused += [{"id": one.event_id, "endpoint": one.endpoint, "why": one.why} for one in reply.refused]
            offset += reply.taken
            show(offset, len(selected))
    return done, refused


def _lines(action: BulkAction, plain: dict[str, Any], *, several: bool) -> list[str]:
    refused = plain["refused"]
    lines = [f"{plain['done']} {action.past}, {len(refused)} refused"]
    lines += [f"  {one['id']}{_to(one) if several else ''}: {one['why']}" for one in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"  and {len(refused) - _SHOWN} more (-o json lists all)")
    return lines


def _to(refused: Mapping[str, str]) -> str:
    return f" to {refused['endpoint']}"


def _report_missing(missing: Sequence[str]) -> int:
    for one in missing:
        terminal.print_line(f"no selected event has the id {one}", err=True)
    return errors.EXIT_FAILURE if missing else errors.EXIT_OK
