"""`beacon events`: list events with the state of their deliveries."""

import itertools
from typing import Any

import click

from beacon.cli import filters, output, search, store_client, terminal

_EPILOG = """
\b
Examples:
  beacon events --state failed --since 2h
  beacon events --kind Deployment -n shop --name web --oldest-first
  beacon events --limit 0 -o json | jq -r '.[].id'

\b
Exit codes: 0 done, 2 usage error, 69 the store does not answer.
"""


@click.command("events", epilog=_EPILOG)
@filters.options
@click.option("--limit", type=filters.LIMIT, default=100, show_default=True, help="Maximum number; 0: all.")
@click.option("--after", type=filters.DELIVERY, default=0, help="Continue after this delivery, as the last line says.")
@click.option("--oldest-first", is_flag=True, help="Reverse the order.")
@output.option
def command(limit: int, after: int, oldest_first: bool, output: str, **params: object) -> None:  # noqa: FBT001
    """List events and their deliveries, the newest first. Filters are combined with AND."""
    selection = filters.selection(params)
    with store_client.store() as client:
        walked = search.walk(client, selection, after=after, newest_first=not oldest_first)
        found = list(itertools.islice(walked, limit + 1 if limit else None))
    cut = bool(limit) and len(found) > limit
    found = found[:limit] if cut else found
    _show(output, found)
    if not found and output == "table":
        terminal.print_line("No events match.", err=True)
    if cut:
        terminal.print_line(f"There are more: continue with --after {found[-1].delivery}, or raise --limit.", err=True)


def _show(form: str, found: list[Any]) -> None:
    output.show(form, [search.plain(one) for one in found], search.lines(found))
