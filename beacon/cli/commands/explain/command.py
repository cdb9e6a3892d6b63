"""`beacon explain`: show the history of one object, and why no event was sent."""

import os
import sys
from dataclasses import replace

import click

from beacon import bus, errors, wire
from beacon.cli import cluster_choice, filters, output, search, store_client, terminal
from beacon.cli.commands.explain import rendering, target
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
  beacon explain ConfigMap shop/settings --limit 0 -o json | jq -r '.why[]'

\b
Exit codes: 0 done, 1 no object or event has this id, the id is ambiguous, or the type is not known, 2 usage error,
69 the store does not answer, 78 the environment does not name Beacon's run directory.
"""


@click.command("explain", epilog=_EPILOG)
@click.argument("what", metavar="TYPE[/NAME]|UID|EVENT_ID")
@click.argument("name", required=False, metavar="[NAMESPACE/]NAME")
@click.option("-n", "--namespace", default=None, help="Namespace of the object.")
@click.option("--limit", type=filters.LIMIT, default=20, show_default=True, help="Number of events; 0: all.")
@cluster_choice.options
@output.option
def command(*, what: str, name: str | None, namespace: str | None, limit: int, output: str, **cluster: str) -> None:
    """Show one object: its state, its events, each request with its response, and what prevents or delays events.

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
        scopes = [] if story.objects or events else _configured(client, story.kind)
    live = _live(scopes, story, cluster_choice.ClusterChoice(**cluster)) if story.covering else []
    why = rendering.why(story, events, _down(), watched=[scope.id.namespace for scope in scopes])
    _show(output, rendering.plain(story, events, why + live))


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
    while page.more and (not limit or len(events) < limit):
        page = _page(client, replace(request, before=page.before))
        events += page.events
    more = page.more or bool(limit and len(events) > limit)
    return replace(story, more=more), events[:limit] if limit else events


def _configured(client: bus.Client, kind: str) -> list[rules.Scope]:
    """Return the scopes of a kind in the running Beacon's configuration."""
    welcome = client.try_call(wire.Hello(process="cli"), timeout_s=_TIMEOUT_S)
    scopes = configured_scopes.of(settings.from_plain(welcome.settings))
    return [scope for scope in scopes if scope.id.kind.lower() == kind.lower()]


def _live(scopes: list[rules.Scope], story: wire.Explanation, chosen: cluster_choice.ClusterChoice) -> list[str]:
    """Evaluate the live object under the running Beacon's configuration."""
    if not scopes:
        return []
    from beacon.cli.commands.explain import live_object  # noqa: PLC0415  it takes most of a second to load

    return live_object.why_not(scopes, story.kind, story.namespace, story.name, chosen=chosen)


def _page(client: bus.Client, request: wire.Explain) -> wire.Explanation:
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
