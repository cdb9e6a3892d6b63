"""Sends test events for `beacon test-event`, in the running notifier: with its token, its TLS files and its proxy.

A thread asks the store for requested test events, beside the delivery and independent of it. Each event is sent on a
connection of its own. It has no object and is not written to the ledger.
"""

import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from contextlib import closing

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.notifier import wiring
from beacon.notifier.delivery import ports, render
from beacon.notifier.transport import answer, auth_token, blocking_sender
from beacon.runtime import log

_POLL_S = 2.0
_TIMEOUT_S = 5.0
_SLICE_S = 0.2  # how often the stop flag is checked while a test event is under way


def serve(connect: ports.Connect, tree: settings.Settings, environ: Mapping[str, str], stop: threading.Event) -> None:
    """Send the requested test events until the stop flag is set, or until the store has another configuration."""
    with connect() as client:
        while not stop.wait(_POLL_S):
            try:
                identity = client.try_call(wire.TakeTestEvent(), timeout_s=_TIMEOUT_S).id
                if identity and (result := _send_beside(tree, environ, stop)) is not None:
                    client.try_call(wire.ReportTestEvent(id=identity, result=result), timeout_s=_TIMEOUT_S)
            except (bus.SettingsChanged, errors.Stopping):
                return  # the delivery ends the process
            except errors.BeaconError:
                continue  # the store does not answer, or has another ledger; the command asks again, or gives up


def _send_beside(
    tree: settings.Settings, environ: Mapping[str, str], stop: threading.Event
) -> wire.TestEventResult | None:
    """Send a test event in a thread that a stop need not wait for; None if stopped before."""
    results: list[wire.TestEventResult] = []

    def work() -> None:
        try:
            results.append(send(tree, environ))
        except errors.ConfigError as error:
            results.append(_result("", tree, answer.EndpointAnswer(code="", status=0, error=f"{error}: not sent")))

    thread = threading.Thread(target=work, name="test-event", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(_SLICE_S)
    return results[0] if results else None


def send(tree: settings.Settings, environ: Mapping[str, str]) -> wire.TestEventResult:
    """Send one test event, and return the response."""
    target = wiring.target_of(tree, tree.endpoint)
    token = auth_token.AuthToken(
        value=environ.get("ENDPOINT_AUTH_TOKEN", ""), file=environ.get("ENDPOINT_AUTH_TOKEN_FILE", "")
    )
    if (file := environ.get("ENDPOINT_AUTH_TOKEN_FILE", "")) and not token.token():
        return _result(
            "", tree, answer.EndpointAnswer(code="", status=0, error=f"no token can be read from {file}: not sent")
        )
    identity = str(uuid.uuid4())
    with closing(blocking_sender.BlockingSender(target, token=token.token, on_fault=_log)) as sender:
        body = render.test_event(identity, time.time_ns() // 1000, wiring.names_of(tree))
        reply = sender.send(body, event_id=identity, timeout_s=tree.endpoint.timeout_s)
    return _result(identity, tree, reply)


def _log(error: Exception) -> None:
    """Log an unexpected error; the test event is reported as `internal`."""
    log.get().error("test event sent with an error", traceback="".join(traceback.format_exception(error)))


def _result(identity: str, tree: settings.Settings, reply: answer.EndpointAnswer) -> wire.TestEventResult:
    return wire.TestEventResult(
        id=identity,
        type=render.test_event_type(wiring.names_of(tree)),
        endpoint=tree.endpoint.name,
        code=reply.code,
        status=reply.status,
        error=reply.error,
        seconds=round(reply.duration_s, 4),
        request_id=reply.request_id,
    )
