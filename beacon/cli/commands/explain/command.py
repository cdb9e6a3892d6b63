"""`beacon explain`: show the history of one object, and why no event was sent."""

import os
import sys
from collections.abc import Iterable
from dataclasses import replace

import click

from beacon import bus, errors, wire
from beacon.cli import cluster_choice, endpoint_choice, filters, output, search, store_client, terminal
from beacon.cli.commands.explain import endpoints, rendering, target
from beacon.configuration import configured_scopes, settings
from beacon.domain import rules
from beacon.runtime import run_directory

_TIMEOUT_S = 5.0
_EPILOG = """
\b
Examples:
  beacon explain Deployment shop/web
  beacon explain deployments/web -n shop
  beacon explain namespace shop
  beacon explain 7b0e2f3c
  beacon explain deploy/web -n shop --endpoint billing
  beacon explain ConfigMap shop/settings --limit 0 -o json | jq -r '.why[]'

\b
Exit codes: 0 done, 1 no object or event has this id, the id is ambiguous, or the type is not known, 2 usage error,
69 the store does not answer, 78 the environment does not name Beacon's run directory.
"""


@click.command("explain", epilog=_EPILOG)
@click.argument("what", metavar="TYPE[/NAME]|UID|EVENT_ID")
@click.argument("name", required=False, metavar="[NAMESPACE/]NAME")
@click.option("-n", "--namespace", default=None, help="Namespace of the object.")
@endpoint_choice.option("Show only the deliveries to this endpoint.")
@click.option("--limit", type=filters.LIMIT, default=20, show_default=True, help="Number of events; 0: all.")
@cluster_choice.options
@output.option
def command(
    *,
    what: str,
    name: str | None,
    namespace: str | None,
    endpoint: str,
    limit: int,
    output: str,
    **cluster: str,
) -> None:
    """Show one object: its state, its events, each request with its response, and what prevents or delays events.

    With several endpoints, it shows which of them gets the object's events, and why the others don't.

    Select the object by type and name, by its UID, or by the id of one of its events; the beginning of an id suffices
    if it is unambiguous. TYPE is a kind, a plural or a short name, in any case.
    """
    wanted = target.parse(what, name, namespace)
    with store_client.store() as client:
        request = target.request(wanted, client.try_call(wire.Inspect(), timeout_s=_TIMEOUT_S).scopes)
        if request.target:
            request = replace(request, target=search.whole_id(client, request.target))
        story, events = _read(client, request, limit)
        _fail_if_unknown(request, story)
        endpoint_choice.check(endpoint, [one.name for one in story.endpoints])
        tree = _configuration(client)
    scopes = [] if story.objects or events else _configured(tree, story.kind)
    live = _live(scopes, story, cluster_choice.ClusterChoice(**cluster)) if story.covering else []
    found = endpoints.of(story, events, tree.endpoints, endpoint)
    chosen = [one for one in events if endpoint in ("", one.endpoint)]
    why = rendering.why(story, chosen, _troubled(), watched=[scope.id.namespace for scope in scopes])
    why += endpoints.sentences(found, events, alone=len(story.endpoints) == 1)
    _show(output, rendering.plain(story, chosen, why + live, found))


def _fail_if_unknown(request: wire.Explain, story: wire.Explanation) -> None:
    if request.target and not story.known:
        problem = f"the ledger has no object and no event with the id {request.target}"
    elif request.kind and not target.is_known(request.kind, story):
        problem = f"no type {request.kind!r} is known; the configuration watches {', '.join(story.kinds)}"
    else:
        return
    terminal.print_line(problem, err=True)
    sys.exit(errors.EXIT_FAILURE)


def _read(client: bus.Client, request: wire.Explain, limit: int) -> tuple[wire.Explanation, list[wire.EmittedEvent]]:
    """Read page after page, the latest events first; `more` of the story is that of the last page."""
    story = page = _page(client, request)
    events = list(page.events)
    while page.more and (not limit or len(_sequences(events)) < limit):
        page = _page(client, replace(request, before=page.before))
        events += page.events
    found = _sequences(events)
    shown = set(found[:limit] if limit else found)
    more = page.more or len(shown) < len(found)
    return replace(story, more=more), [one for one in events if one.sequence in shown]


def _sequences(events: Iterable[wire.EmittedEvent]) -> list[int]:
    """Return the sequence of each event once: it has an entry for each of its deliveries."""
    return list(dict.fromkeys(one.sequence for one in events))


def _configuration(client: bus.Client) -> settings.Settings:
    """Return the running Beacon's configuration."""
    return settings.from_plain(client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S).settings)


def _configured(tree: settings.Settings, kind: str) -> list[rules.Scope]:
    """Return the configured scopes of a kind."""
    return [scope for scope in configured_scopes.of(tree) if scope.id.kind.lower() == kind.lower()]


def _live(scopes: list[rules.Scope], story: wire.Explanation, chosen: cluster_choice.ClusterChoice) -> list[str]:
    """Evaluate the live object under the running Beacon's configuration."""
    if not scopes:
        return []
    from beacon.cli.commands.explain import live_object  # noqa: PLC0415  it takes most of a second to load

    return live_object.why_not(scopes, story.kind, story.namespace, story.name, chosen=chosen)


def _page(client: bus.Client, request: wire.Explain) -> wire.Explanation:
    return client.try_call(request, timeout_s=_TIMEOUT_S)


def _troubled() -> dict[str, rendering.Trouble]:
    """Return the endpoints that the notifier reports as down or faulty."""
    return {
        str(one.fields.get("endpoint", "")): rendering.Trouble(state=one.state, since=one.since)
        for one in run_directory.read_reports(run_directory.private(os.environ))
        if one.component == "endpoint" and one.state in ("down", "faulty")
    }


def _show(form: str, values: dict[str, object]) -> None:
    output.show(form, values, rendering.lines(values))
