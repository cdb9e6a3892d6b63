"""HTTP interface to `control`, for tests and demos in another process.

`POST /beacon-dev/<command>` with the arguments as a JSON object calls that method of `control`;
`GET /beacon-dev/status` returns the state. Both require an administrator's token. Faults must not apply here, because
a client could not remove them then.
"""

import threading
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from beacon.dev.api_server import access, control, service, status

PREFIX = "/beacon-dev/"
_COMMANDS = frozenset({
    "fail", "refuse", "freeze", "thaw", "slow", "remove", "clear", "drop", "end_watches", "half_line", "error_line",
    "compact", "age", "load", "fill", "churn", "snapshot", "rewind", "issue", "reissue", "revoke", "allow", "deny",
})  # fmt: skip
_ANSWER_FIRST_S = 0.1


class Admin:
    """Handles the requests below `/beacon-dev/`."""

    def __init__(self, cluster: service.ApiService, switches: control.Control) -> None:
        self._cluster = cluster
        self._control = switches

    async def answer(self, request: Request, user: access.ApiUser) -> Response:
        """Execute one command and return its result as `{"result": ...}`."""
        if access.ADMIN_GROUP not in user.groups:
            raise status.ApiError(403, "Forbidden", "only an administrator may do this", details={})
        command = request.url.path.removeprefix(PREFIX)
        if request.method == "GET" and command == "status":
            return _json(self._status())
        if request.method != "POST" or command not in _COMMANDS | {"restart"}:
            raise status.no_such_resource()
        arguments = orjson.loads(await request.body() or b"{}")
        if command == "restart":
            # The restart breaks this connection too, so respond first.
            threading.Timer(_ANSWER_FIRST_S, self._control.restart, kwargs=arguments).start()
            return _json({"result": None})
        try:
            # In a thread, because the methods block until this event loop has run their work.
            result = await run_in_threadpool(getattr(self._control, command), **arguments)
        except (TypeError, ValueError, KeyError) as error:
            raise status.bad_request(f"{command}: {error}") from error
        return _json({"result": result})

    def _status(self) -> dict[str, Any]:
        answered = [
            {"user": entry.user, "verb": entry.verb, "resource": entry.resource, "path": entry.path}
            | {"status": entry.status, "at": entry.at}
            for entry in self._cluster.answered
        ]
        watches = [watch.info.path for watch in self._cluster.watches]
        return {"resourceVersion": str(self._cluster.state.version), "watches": watches, "requests": answered}


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
