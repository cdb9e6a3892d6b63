"""`beacon events`: list events with the state of their deliveries."""

import itertools
from collections.abc import Sequence

import click

from beacon import bus, wire
from beacon.cli import endpoint_choice, filters, following, output, search, store_client, terminal

_EPILOG = """
\b
Examples:
  beacon events --state failed --since 2h
  beacon events --kind deploy -n shop --name web --oldest-first
  beacon events --endpoint billing --state ready
  beacon events --watch -o json | jq -r .object.name
  beacon events --limit 0 -o json | jq -r '.[].id'

\b
Exit codes: 0 done, or --watch was stopped with Ctrl-C, 1 an id is ambiguous, 2 usage error, 69 the store does not
answer, 78 the environment does not name Beacon's run directory, 130 interrupted.
"""


@click.command("events", epilog=_EPILOG)
@filters.options
@click.option("--limit", type=filters.LIMIT, default=100, show_default=True, help="Maximum number; 0: all.")
@click.option("--after", type=filters.DELIVERY, default=0, help="Continue after this delivery, as the last line says.")
@click.option("--oldest-first", is_flag=True, help="Reverse the order.")
@click.option("-w", "--watch", is_flag=True, help="Then print new and changed deliveries, until Ctrl-C.")
@output.option
def command(*, limit: int, after: int, oldest_first: bool, watch: bool, output: str, **params: object) -> None:
    """List events and their deliveries, the newest first. Filters are combined with AND.

    With --watch, the list is ordered from the oldest to the newest, and a line follows for each new event and for each
    delivery whose state or response has changed, also across a restart of the store.
    """
    if watch and (after or oldest_first):
        raise click.UsageError("--watch shows the latest events: it goes with neither --after nor --oldest-first")
    selection = filters.selection(params)
    with store_client.store() as client:
        selection = search.resolve(client, selection)
        several = endpoint_choice.are_several(client, selection.endpoint)
        columns = search.Columns(form=output, several=several)
        if watch:
            _watch(client, selection, limit, columns)
            return
        walked = search.walk(client, selection, after=after, newest_first=not oldest_first)
        found = list(itertools.islice(walked, limit + 1 if limit else None))
    cut = bool(limit) and len(found) > limit
    found = found[:limit] if cut else found
    _show(columns, found)
    if cut:
        terminal.print_line(f"There are more: continue with --after {found[-1].delivery}, or raise --limit.", err=True)


def _show(columns: search.Columns, found: Sequence[wire.DeliverySummary]) -> None:
    output.show(columns.form, [search.plain(one) for one in found], columns.table(found))
    if not found and output.is_table(columns.form):
        terminal.print_line("No events match.", err=True)


def _watch(client: bus.Client, selection: wire.DeliveryFilter, limit: int, columns: search.Columns) -> None:
    """Print the latest deliveries, then each new or changed one."""
    with following.stoppable():
        watch = following.Watch(client, selection)
        watch.begin()
        newest = search.walk(client, selection, newest_first=True)
        found = list(itertools.islice(newest, limit or None))[::-1]
        stream = output.Stream(columns.form, columns.head, [columns.row(one) for one in found])
        for one in found:
            watch.is_new(one)
            stream.show(search.plain(one), columns.row(one))
        for one in watch.deliveries():
            stream.show(search.plain(one), columns.row(one))
