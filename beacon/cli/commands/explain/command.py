"""`beacon explain`: show the history of one object, and why no event was sent."""

import os
import sys
from dataclasses import replace

import click

from beacon import bus, errors, wire
from beacon.cli import filters, output, store_client, terminal
from beacon.cli.commands.explain import rendering
from beacon.configuration import configured_scopes, settings
from beacon.runtime import run_directory

_TIMEOUT_S = 5.0
_EPILOG = """
\b
Examples:
  beacon explain Deployment shop/web
  beacon explain Namespace shop
  beacon explain 7b0e2f3c-5a6d-5f10-9c1e-0d2a4b6c8e10
  beacon explain ConfigMap shop/settings --limit 0 -o json | jq -r '.why[]'

\b
Exit codes: 0 done, 1 no object or event has this id, 2 usage error, 69 the store does not answer.
"""


@click.command("explain", epilog=_EPILOG)
@click.argument("what", metavar="KIND|UID|EVENT_ID")
@click.argument("name", required=False, metavar="[NAMESPACE/]NAME")
@click.option("--limit", type=filters.LIMIT, default=20, show_default=True, help="Number of events; 0: all.")
@output.option
def command(what: str, name: str | None, limit: int, output: str) -> None:
    """Show one object: its state, its events, each request with its response, and what prevents or delays events.

    Select the object by kind and name, by its UID, or by the id of one of its events.
    """
    with store_client.store() as client:
        story, events = _read(client, _request(what, name), limit)
        live = _live(client, story) if not story.objects and not events and story.covering else []
    if not story.known and name is None:
        terminal.print_line(f"the ledger has no object and no event with the id {what}", err=True)
        sys.exit(errors.EXIT_FAILURE)
    _show(output, rendering.plain(story, events, rendering.why(story, events, _down()) + live))


def _request(what: str, name: str | None) -> wire.Explain:
    if name is None:
        if what.isalpha():
            raise click.UsageError(f"the name of the {what} is missing: beacon explain {what} NAMESPACE/NAME")
        return wire.Explain(target=what)
    namespace, _, rest = name.rpartition("/")
    if not rest or "/" in namespace:
        raise click.UsageError(f"{name!r} is neither NAMESPACE/NAME nor the NAME of a cluster-wide object")
    return wire.Explain(kind=what, namespace=namespace, name=rest)


def _read(client: bus.Client, request: wire.Explain, limit: int) -> tuple[wire.ObjectStory, list[wire.EmittedEvent]]:
    """Read page after page, the latest events first; `more` of the story is that of the last page."""
    story = page = _page(client, request)
    events = list(page.events)
    while page.more and (not limit or len(events) < limit):
        page = _page(client, replace(request, before=page.before))
        events += page.events
    more = page.more or bool(limit and len(events) > limit)
    return replace(story, more=more), events[:limit] if limit else events


def _live(client: bus.Client, story: wire.ObjectStory) -> list[str]:
    """Evaluate the live object under the running Beacon's configuration."""
    from beacon.cli.commands.explain import live_object  # noqa: PLC0415  the client for the cluster takes most of a second to load

    welcome = client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S)
    scopes = configured_scopes.of(settings.from_plain(welcome.settings))
    return live_object.why_not(scopes, story.kind, story.namespace, story.name)


def _page(client: bus.Client, request: wire.Explain) -> wire.ObjectStory:
    return client.try_call(request, timeout_s=_TIMEOUT_S)


def _down() -> dict[str, str]:
    """Return the endpoints that the notifier reports as down, with the instant since when."""
    return {
        str(one.fields.get("endpoint", "")): one.since
        for one in run_directory.read_reports(run_directory.private(os.environ))
        if one.component == "endpoint" and one.state == "down"
    }


def _show(form: str, values: dict[str, object]) -> None:
    output.show(form, values, rendering.lines(values))
