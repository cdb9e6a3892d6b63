"""`beacon explain`: what happened to this object, and why nothing did."""

import os
import sys
from dataclasses import replace

import click

from beacon import bus, errors, wire
from beacon.cli import explain_output, filters, output, store_client, terminal
from beacon.configuration import configured_scopes, settings
from beacon.runtime import run_directory

_PATIENCE_S = 5.0
_EPILOG = """
\b
Examples:
  beacon explain Deployment shop/web
  beacon explain Namespace shop
  beacon explain 7b0e2f3c-5a6d-5f10-9c1e-0d2a4b6c8e10
  beacon explain ConfigMap shop/settings --limit 0 -o json | jq -r '.why[]'

\b
Exit codes: 0 told, 1 nothing has this UID or event id, 2 wrong use, 69 the store does not answer.
"""


@click.command("explain", epilog=_EPILOG)
@click.argument("what", metavar="KIND|UID|EVENT_ID")
@click.argument("name", required=False, metavar="[NAMESPACE/]NAME")
@click.option("--limit", type=filters.LIMIT, default=20, show_default=True, help="How many events; 0: all.")
@output.option
def command(what: str, name: str | None, limit: int, output: str) -> None:
    """Tell the story of one object: what was seen, each event, each request with its answer, what is due, and why not.

    The object is named by kind and name, by its UID, or by the id of an event about it.
    """
    with store_client.store() as client:
        story, events = _read(client, _request(what, name), limit)
        live = _live(client, story) if not story.objects and not events and story.covering else []
    if not story.known and name is None:
        terminal.say(f"the ledger knows no object and no event with the id {what}", err=True)
        sys.exit(errors.EXIT_FAILURE)
    _show(output, explain_output.plain(story, events, explain_output.why(story, events, _down()) + live))


def _request(what: str, name: str | None) -> wire.Explain:
    if name is None:
        if what.isalpha():
            raise click.UsageError(f"which {what}? Name it: beacon explain {what} NAMESPACE/NAME")
        return wire.Explain(target=what)
    namespace, _, rest = name.rpartition("/")
    if not rest or "/" in namespace:
        raise click.UsageError(f"{name!r} is not NAMESPACE/NAME, nor the NAME of what has no namespace")
    return wire.Explain(kind=what, namespace=namespace, name=rest)


def _read(client: bus.Client, request: wire.Explain, limit: int) -> tuple[wire.Explanation, list[wire.EmittedEvent]]:
    """Read page after page, the latest first; the story is the first page's, `more` what is true at the end."""
    story = page = _page(client, request)
    events = list(page.events)
    while page.more and (not limit or len(events) < limit):
        page = _page(client, replace(request, before=page.before))
        events += page.events
    more = page.more or bool(limit and len(events) > limit)
    return replace(story, more=more), events[:limit] if limit else events


def _live(client: bus.Client, story: wire.Explanation) -> list[str]:
    """Ask the cluster why it shows nothing to be told; what the running Beacon is configured with counts."""
    from beacon.cli import live_object  # noqa: PLC0415  the client for the cluster takes most of a second to load

    welcome = client.try_call(wire.Hello(process="cli"), timeout_s=_PATIENCE_S)
    scopes = configured_scopes.of(settings.from_plain(welcome.settings))
    return live_object.why_not(scopes, story.kind, story.namespace, story.name)


def _page(client: bus.Client, request: wire.Explain) -> wire.Explanation:
    return client.try_call(request, timeout_s=_PATIENCE_S)


def _down() -> dict[str, str]:
    """Say which endpoints the notifier reports as down, and since when."""
    return {
        str(one.fields.get("endpoint", "")): one.since
        for one in run_directory.read_reports(run_directory.private(os.environ))
        if one.component == "endpoint" and one.state == "down"
    }


def _show(form: str, seen: dict[str, object]) -> None:
    output.show(form, seen, explain_output.lines(seen))
