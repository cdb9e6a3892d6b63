"""`beacon tail`: follow events and requests as they happen."""

import threading
from collections.abc import Iterator

import click

from beacon import bus, wire
from beacon.cli import endpoint_choice, filters, following, formatting, output, search, store_client, terminal

_EPILOG = """
\b
Examples:
  beacon tail
  beacon tail --kind deploy -n shop
  beacon tail --endpoint billing
  beacon tail -o json | jq 'select(.what == "request" and .code != "200")'

\b
Stop it with Ctrl-C. Exit codes: 0 stopped, 2 usage error, 69 the store does not answer (any more), 78 the
environment does not name Beacon's run directory.
"""


@click.command("tail", epilog=_EPILOG)
@filters.object_options
@filters.endpoint_option
@output.option
def command(kind: str, namespace: str | None, name: str, endpoint: str, output: str) -> None:
    """Follow events as they are recorded, and requests as they are answered.

    With several endpoints, an event has a line for each that gets it.
    """
    with following.stoppable(), store_client.store() as client:
        selection = wire.DeliveryFilter(kind=kind, namespace=namespace, name=name, endpoint=endpoint)
        selection = search.resolve(client, selection)
        several = endpoint_choice.are_several(client, endpoint)
        for one in _follow(client):
            if filters.matches(selection, one.of):
                _print(output, one, several=several)


def _print(form: str, one: wire.RecentEvent, *, several: bool) -> None:
    if output.is_table(form):
        terminal.print_line(line(one, form, several=several))
    else:
        output.Stream(form, (), ()).show(plain(one), ())


def plain(one: wire.RecentEvent) -> dict[str, object]:
    """Return an event or request in its documented form (docs/cli.md)."""
    if not one.attempt:
        return {"what": "event", "at": formatting.precise(one.of.detected_us), **search.plain(one.of)}
    return {
        "what": "request",
        "at": formatting.precise(one.started_us),
        "generation": one.generation,
        "attempt": one.attempt,
        "durationMs": one.duration_us / 1000,
        "seconds": one.duration_us / 1e6,  # deprecated: durationMs
        "code": one.code,
        "error": one.error,
        **search.plain(one.of),
    }


def line(one: wire.RecentEvent, form: str = "table", *, several: bool = False) -> str:
    """Render an event or request as one line.

    The endpoint is shown if there are several. `wide` always has it, and the event's id with each request.
    """
    of, is_wide = one.of, form == "wide"
    name = f"{of.kind} {search.object_name(of)}"
    endpoint = f"  endpoint {of.endpoint}" if is_wide or several else ""
    if not one.attempt:
        cause = f" cause {of.cause} source {of.source}" if is_wide else ""
        return (
            f"{formatting.precise(of.detected_us)}  event    {of.type.value:8} {name}  #{of.sequence} {of.event_id}"
            f"{endpoint}{cause}"
        )
    again = " (sent again)" if one.generation else ""
    result = f"{one.code} after {one.duration_us / 1000:.1f} ms" + (f": {one.error}" if one.error else "")
    return (
        f"{formatting.precise(one.started_us)}  request  {result}  {name}  #{of.sequence} attempt {one.attempt}{again}"
        f"{endpoint}{f' event {of.event_id}' if is_wide else ''}"
    )


def _follow(client: bus.Client) -> Iterator[wire.RecentEvent]:
    page = following.page(client, -1)
    pause = threading.Event()
    while True:
        page = following.page(client, page.after)
        if page.missed:
            terminal.print_line(f"{page.missed} lines were skipped: use beacon events to see them.", err=True)
        if page.anew:
            terminal.print_line("The store has restarted: use beacon events for the time in between.", err=True)
        yield from page.happenings
        if not page.happenings:
            pause.wait(following.POLL_S)
