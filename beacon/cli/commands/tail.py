"""`beacon tail`: what happens, as it happens."""

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

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
It ends with Ctrl-C. Exit codes: 0 ended, 2 wrong use, 69 the store does not answer (any more).
"""
_PATIENCE_S = 5.0
_EVERY_S = 0.3


@click.command("tail", epilog=_EPILOG)
@click.option("--kind", default="", help="Only of this kind of object.")
@click.option("-n", "--namespace", default=None, help='Only of this namespace; "" for objects that have none.')
@click.option("--name", default="", help="Only of objects of this name.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(kind: str, namespace: str | None, name: str, output: str) -> None:
    """Follow events as they are recorded, and requests as they are answered."""
    try:
        with store_client.store() as client:
            for one in _follow(client):
                if _is_meant(one.of, kind, namespace, name):
                    terminal.json_line(plain(one)) if output == "json" else terminal.say(line(one))
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's end would say so


def plain(one: wire.RecentEvent) -> dict[str, Any]:
    """Give a happening in its documented form (docs/cli.md)."""
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
    """Render a happening for people."""
    of = one.of
    whose = f"{of.kind} {search.named(of)}"
    if not one.attempt:
        return f"{formatting.precise(of.detected_us)}  event    {of.type.value:8} {whose}  #{of.sequence} {of.event_id}"
    again = " (redelivery)" if one.generation else ""
    said = f"{one.code} after {one.duration_us / 1000:.1f} ms" + (f": {one.error}" if one.error else "")
    return (
        f"{formatting.precise(one.started_us)}  request  {said}  {whose}  #{of.sequence} attempt {one.attempt}{again}"
    )


def _follow(client: bus.Client) -> Iterator[wire.RecentEvent]:
    page = _page(client, -1)
    pause = threading.Event()
    while True:
        page = _page(client, page.after)
        if page.missed:
            terminal.say(f"{page.missed} more happened, too fast to be followed: see beacon events.", err=True)
        if page.anew:
            terminal.say("The store has started anew: for what happened meanwhile see beacon events.", err=True)
        yield from page.happenings
        if not page.happenings:
            pause.wait(_EVERY_S)


def _page(client: bus.Client, after: int) -> wire.RecentEventPage:
    return client.try_call(wire.Follow(after=after), timeout_s=_PATIENCE_S)


def _is_meant(of: wire.DeliverySummary, kind: str, namespace: str | None, name: str) -> bool:
    return (not kind or of.kind == kind) and namespace in (None, of.namespace) and (not name or of.name == name)
