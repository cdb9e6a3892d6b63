"""`beacon discard`: give up failed deliveries, or all deliveries of a removed endpoint, permanently."""

import sys
import uuid
from collections.abc import Mapping
from typing import Any

import click

from beacon import bus, errors, wire
from beacon.cli import actor, bulk, endpoint_choice, output, progress, store_client, terminal
from beacon.domain import model

_EPILOG = """
\b
Examples:
  beacon discard --reason "the tenant is gone" 0b5e0f2c
  beacon discard --reason "billed by hand" -n shop --until 2026-01-31T00:00:00Z --dry-run
  beacon discard --reason "billing was shut down" --endpoint billing

\b
Exit codes: 0 done, 1 some were refused or do not exist, or it was not confirmed, 2 usage error, 69 the store does not
answer, 78 the environment does not name Beacon's run directory, 130 interrupted.
"""


_TIMEOUT_S = 10.0
_OPTIONS = {"endpoint", "dry_run", "yes", "output"}  # those that leave the selection whole
_UNSETTLED = (model.DeliveryState.QUEUED, model.DeliveryState.READY, model.DeliveryState.FAILED)


@click.command("discard", epilog=_EPILOG)
@bulk.options
@click.option("--reason", required=True, help="Recorded and shown with the delivery.")
def command(reason: str, **params: object) -> None:
    """Discard failed deliveries: they no longer count as failed and are removed after the retention period.

    For an endpoint that is no longer configured, --endpoint alone discards all its open and failed deliveries. If it is
    configured again, it gets what it has missed.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty: state why the deliveries are given up")
    action = bulk.BulkAction(
        request=lambda pairs, operation: wire.Discard(deliveries=pairs, reason=reason, operation=operation),
        past="discarded",
        states=(model.DeliveryState.FAILED.value,),
    )
    with store_client.store() as client:
        removed = _removed(client, params)
        if removed and params["dry_run"]:
            params["state"] = tuple(state.value for state in _UNSETTLED)
        if removed and not params["dry_run"]:
            code = _discard_all(client, removed, reason, params)
        else:
            code = bulk.carry_out(client, action, params)
    sys.exit(code)


def _removed(client: bus.Client, params: Mapping[str, Any]) -> wire.EndpointStatistics | None:
    """Return the removed endpoint that the command means as a whole: no other filter is given."""
    narrowed = params["namespace"] is not None or any(params[name] for name in params if name not in _OPTIONS)
    if narrowed or not params["endpoint"]:
        return None
    known = endpoint_choice.known(client)
    return next((one for one in known if one.endpoint == params["endpoint"] and one.removed_us), None)


def _discard_all(client: bus.Client, one: wire.EndpointStatistics, reason: str, params: Mapping[str, Any]) -> int:
    """Discard the open and failed deliveries of a removed endpoint, step by step."""
    total = one.ready + one.waiting + one.queued + one.in_flight + one.failed
    if total and not params["yes"]:
        question = f"All {total} open and failed deliveries to {one.endpoint} will be discarded. Continue?"
        click.confirm(question, abort=True, err=True)
    operation, who = str(uuid.uuid4()), actor.describe()
    done, after, more = 0, 0, True
    with progress.progress("discarded") as show:
        while more:
            command_ = wire.OperatorCommand(id=operation, actor=who, left=max(0, total - done))
            request = wire.DiscardEndpoint(endpoint=one.endpoint, reason=reason, after=after, operation=command_)
            try:
                reply = client.try_call(request, timeout_s=_TIMEOUT_S)
            except errors.TransientError:
                terminal.print_line(f"{done} of {total} discarded; repeat the same command for the rest.", err=True)
                raise
            done, after, more = done + reply.discarded, reply.after, reply.more
            show(done, max(total, done))
    plain = {"done": done, "refused": []}
    output.show(params["output"], plain, [f"{done} discarded, 0 refused"])
    return errors.EXIT_OK
