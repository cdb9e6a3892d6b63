"""`python -m beacon.notifier.test_event`: sends one test event through the notifier's transport.

`beacon test-event` starts it as a separate process, with the settings of the running store on standard input as JSON,
and reads the result, a JSON object, from standard output. The event has no object and is not written to the ledger.
"""

import os
import sys
import time
import traceback
import uuid
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from beacon import codec, errors
from beacon.configuration import settings
from beacon.notifier import wiring
from beacon.notifier.delivery import render
from beacon.notifier.transport import answer, auth_token, blocking_sender


def send(tree: settings.Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Send one test event. Return `{"id", "type", "url", "code", "status", "error", "seconds", "requestId"}`."""
    target = wiring.target_of(tree)
    token = auth_token.AuthToken(
        value=environ.get("ENDPOINT_AUTH_TOKEN", ""), file=environ.get("ENDPOINT_AUTH_TOKEN_FILE", "")
    )
    if (file := environ.get("ENDPOINT_AUTH_TOKEN_FILE", "")) and not token.token():
        return _result(
            "", tree, answer.EndpointAnswer(code="", status=0, error=f"no token can be read from {file}: not sent")
        )
    identity = str(uuid.uuid4())
    with closing(blocking_sender.BlockingSender(target, token=token.token, on_fault=_show)) as sender:
        body = render.test_event(identity, time.time_ns() // 1000, wiring.config_of(tree).names)
        reply = sender.send(body, event_id=identity, timeout_s=tree.endpoint.timeout_s)
    return _result(identity, tree, reply)


def _show(error: Exception) -> None:
    """Write an unexpected error to standard error, because this process has no log."""
    sys.stderr.write("".join(traceback.format_exception(error)))


def _result(identity: str, tree: settings.Settings, reply: answer.EndpointAnswer) -> dict[str, Any]:
    return {
        "id": identity,
        "type": render.test_event_type(wiring.config_of(tree).names),
        "endpoint": tree.endpoint.name,
        "code": reply.code,
        "status": reply.status,
        "error": reply.error,
        "seconds": round(reply.duration_s, 4),
        "requestId": reply.request_id,
    }


def main() -> None:
    """Read the settings, send the event, and print the result; an invalid environment is a result, too."""
    tree = settings.from_plain(codec.decode(sys.stdin.buffer.read()))
    try:
        reply = send(tree, os.environ)
    except errors.ConfigError as error:
        reply = _result("", tree, answer.EndpointAnswer(code="", status=0, error=f"{error}: not sent"))
    sys.stdout.buffer.write(codec.encode(reply) + b"\n")


if __name__ == "__main__":
    main()
