"""`python -m beacon.notifier.test_event`: sends one marked event on the notifier's own way and tells what came back.

`beacon test-event` starts it as a process of its own, with the settings of the running store on standard input as JSON,
and reads one JSON object from standard output. The event is of no object, and enters no ledger.
"""

import os
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from beacon import codec, errors
from beacon.configuration import settings
from beacon.notifier import answer, auth_token, deadline, http_sender, render, wiring


def attempt(tree: settings.Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Send it once: `{"id", "type", "url", "code", "status", "error", "seconds", "requestId"}`."""
    target = wiring.target_of(tree)
    token = auth_token.Bearer(
        value=environ.get("ENDPOINT_AUTH_TOKEN", ""), file=environ.get("ENDPOINT_AUTH_TOKEN_FILE", "")
    )
    if (file := environ.get("ENDPOINT_AUTH_TOKEN_FILE", "")) and not token.token():
        return _told(
            "", tree, answer.EndpointAnswer(code="", status=0, error=f"no token can be read from {file}: not sent")
        )
    identity = str(uuid.uuid4())
    watchdog = deadline.Watchdog()
    thread = threading.Thread(target=watchdog.run, args=(lambda: None,))
    thread.start()
    sender = http_sender.HttpSender(target, token=token.token, watchdog=watchdog)
    try:
        body = render.trial(identity, time.time_ns() // 1000, wiring.terms_of(tree).names)
        came = sender.send(body, event_id=identity, timeout_s=tree.endpoint.timeout_s)
    finally:
        sender.close()
        watchdog.stop()
        thread.join()
    return _told(identity, tree, came)


def _told(identity: str, tree: settings.Settings, came: answer.EndpointAnswer) -> dict[str, Any]:
    return {
        "id": identity,
        "type": render.trial_type(wiring.terms_of(tree).names),
        "endpoint": tree.endpoint.name,
        "code": came.code,
        "status": came.status,
        "error": came.error,
        "seconds": round(came.duration_s, 4),
        "requestId": came.request_id,
    }


def main() -> None:
    """Read the settings, send, and print the outcome; what the environment has wrong is an outcome, too."""
    tree = settings.from_plain(codec.decode(sys.stdin.buffer.read()))
    try:
        came = attempt(tree, os.environ)
    except errors.ConfigError as error:
        came = _told("", tree, answer.EndpointAnswer(code="", status=0, error=f"{error}: not sent"))
    sys.stdout.buffer.write(codec.encode(came) + b"\n")


if __name__ == "__main__":
    main()
