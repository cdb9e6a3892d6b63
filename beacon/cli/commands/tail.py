"""`beacon tail`: follow events and requests as they happen."""

import os
import sys
import threading
from collections.abc import Iterator

import click

from beacon import bus, wire
from beacon.cli import formatting, search, store_client, terminal

_EPILOG = """
\b
Examples:
  beacon tail
  beacon tail --kind Deployment -n shop
  beacon tail -o json | jq 'select(.what == "request" and .code != "200")'

\b
Stop it with Ctrl-C. Exit codes: 0 stopped, 2 usage error, 69 the store does not answer (any more).
"""
_TIMEOUT_S = 5.0
_POLL_S = 0.3


@click.command("tail", epilog=_EPILOG)
@click.option("--kind", default="", help="Only objects of this kind.")
@click.option("-n", "--namespace", default=None, help='Only objects of this namespace; "" for cluster-wide objects.')
@click.option("--name", default="", help="Only objects of this name.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
def command(kind: str, namespace: str | None, name: str, output: str) -> None:
    """Follow events as they are recorded, and requests as they are answered."""
    try:
        with store_client.store() as client:
            for one in _follow(client):
                if _matches(one.of, kind, namespace, name):
                    terminal.json_line(plain(one)) if output == "json" else terminal.print_line(line(one))
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # the reader of the pipe has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter reports it at exit


def plain(one: wire.RecentEvent) -> dict[str, object]:
    """Return an event or request in its documented form (docs/cli.md)."""
    if not one.attempt:
        return {"what": "event", "at": formatting.precise(one.of.detected_us), **search.plain(one.of)}
    return {
        "what": "request",
        "at": formatting.precise(one.started_us),
        "generation": one.generation,
        "attempt": one.attempt,
        "seconds": one.duration_us / 1e6,
        "code": one.code,
        "error": one.error,
        **search.plain(one.of),
    }


def line(one: wire.RecentEvent) -> str:
    """Render an event or request as one line."""
    of = one.of
    name = f"{of.kind} {search.object_name(of)}"
    if not one.attempt:
        return f"{formatting.precise(of.detected_us)}  event    {of.type.value:8} {name}  #{of.sequence} {of.event_id}"
    again = " (redelivery)" if one.generation else ""
    result = f"{one.code} after {one.duration_us / 1000:.1f} ms" + (f": {one.error}" if one.error else "")
    return (
        f"{formatting.precise(one.started_us)}  request  {result}  {name}  #{of.sequence} attempt {one.attempt}{again}"
    )


def _follow(client: bus.Client) -> Iterator[wire.RecentEvent]:
    page = _page(client, -1)
    pause = threading.Event()
    while True:
        page = _page(client, page.after)
        if page.missed:
            terminal.print_line(f"{page.missed} lines were skipped: use beacon events to see them.", err=True)
        if page.anew:
            terminal.print_line("The store has restarted: use beacon events for the time in between.", err=True)
        yield from page.happenings
        if not page.happenings:
            pause.wait(_POLL_S)


def _page(client: bus.Client, after: int) -> wire.RecentEventPage:
    return client.try_call(wire.Follow(after=after), timeout_s=_TIMEOUT_S)


def _matches(of: wire.DeliverySummary, kind: str, namespace: str | None, name: str) -> bool:
    return (not kind or of.kind == kind) and namespace in (None, of.namespace) and (not name or of.name == name)
