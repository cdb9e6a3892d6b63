"""Sends test events for `beacon test-event`, in the running notifier: with its token, its TLS files and its proxy.

A thread asks the store for requested test events, beside the delivery and independent of it: an endpoint gets its test
event also while it is paused or down. Each event is sent in a thread and on a connection of its own, so that no
endpoint waits for another one. It has no object and is not written to the ledger.
"""

import email.utils
import threading
import time
import traceback
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from beacon import bus, errors, wire
from beacon.configuration import settings
from beacon.notifier import wiring
from beacon.notifier.delivery import ports, render
from beacon.notifier.transport import answer, auth_token, blocking_sender
from beacon.runtime import log

_POLL_S = 2.0
_TIMEOUT_S = 5.0
_SLICE_S = 0.2  # how often the results are checked while a test event is under way
_MOST = 16  # test events under way


def serve(connect: ports.Connect, tree: settings.Settings, environ: Mapping[str, str], stop: threading.Event) -> None:
    """Send the requested test events until the stop flag is set, or until the store has another configuration."""
    with connect() as client:
        sender = TestEventSender(lambda request: client.try_call(request, timeout_s=_TIMEOUT_S), tree, environ)
        while not stop.wait(_SLICE_S if sender.is_busy else _POLL_S):
            try:
                sender.step()
            except (bus.SettingsChanged, errors.Stopping):
                return  # the delivery ends the process
            except errors.BeaconError:
                continue  # the store does not answer, or has another ledger; the command asks again, or gives up


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """A test event under way; `results` gets its result."""

    thread: threading.Thread
    results: list[wire.TestEventResult]


class TestEventSender:
    """Takes requested test events from the store, sends each in a thread, and reports the results."""

    __test__ = False  # not a test of pytest

    def __init__(self, call: wire.Caller, tree: settings.Settings, environ: Mapping[str, str]) -> None:
        """Send with the settings and the environment of the notifier; `call` returns the store's reply."""
        self._call = call
        self._tree = tree
        self._environ = environ
        self._under_way: dict[str, _Sending] = {}  # by request

    @property
    def is_busy(self) -> bool:
        """Return True if a test event is under way."""
        return bool(self._under_way)

    def step(self) -> None:
        """Report the results, and begin to send what is requested.

        Raises:
            errors.BeaconError: the store did not answer, or refused.
        """
        for identity, one in list(self._under_way.items()):
            if not one.thread.is_alive():
                result = one.results[0] if one.results else _unsent(self._tree, "", "an unexpected error, see the log")
                self._call(wire.ReportTestEvent(id=identity, result=result))
                del self._under_way[identity]
        while len(self._under_way) < _MOST:
            taken = self._call(wire.TakeTestEvent(under_way=tuple(self._under_way)))
            if not taken.id or taken.id in self._under_way:
                return
            self._begin(taken)

    def _begin(self, taken: wire.TakenTestEvent) -> None:
        """Send in a thread that a stop need not wait for."""
        results: list[wire.TestEventResult] = []
        thread = threading.Thread(
            target=lambda: results.append(send(self._tree, self._environ, taken.endpoint)),
            name="test-event",
            daemon=True,
        )
        self._under_way[taken.id] = _Sending(thread=thread, results=results)
        thread.start()


def send(tree: settings.Settings, environ: Mapping[str, str], name: str = "") -> wire.TestEventResult:
    """Send one test event to the endpoint of that name, "" for the only one, and return the response."""
    chosen = [one for one in tree.endpoints if name == one.name or (not name and len(tree.endpoints) == 1)]
    if not chosen:
        return _unsent(tree, name, f"endpoint {name} is not configured" if name else "no endpoint is named")
    try:
        return _sent(tree, chosen[0], environ)
    except errors.ConfigError as error:
        return _unsent(tree, chosen[0].name, str(error))


def _sent(tree: settings.Settings, one: settings.EndpointSettings, environ: Mapping[str, str]) -> wire.TestEventResult:
    given = environ if len(tree.endpoints) == 1 else {}  # the variables mean the only endpoint
    file = given.get("ENDPOINT_AUTH_TOKEN_FILE", "")
    token = auth_token.AuthToken(value=given.get("ENDPOINT_AUTH_TOKEN", ""), file=file)
    if file and not token.token():
        return _unsent(tree, one.name, f"the token file {file} {token.problem}")
    identity = str(uuid.uuid4())
    target = wiring.target_of(tree, one)
    with closing(blocking_sender.BlockingSender(target, token=token.token, on_fault=_log)) as sender:
        if sender.missing:
            return _unsent(tree, one.name, sender.missing)
        body = render.test_event(identity, time.time_ns() // 1000, wiring.names_of(tree))
        reply = sender.send(body, event_id=identity, timeout_s=one.timeout_s)
    return _result(identity, tree, one.name, reply)


def _log(error: Exception) -> None:
    """Log an unexpected error; the test event is reported as `internal`."""
    log.get().error("test event sent with an error", traceback="".join(traceback.format_exception(error)))


def _unsent(tree: settings.Settings, name: str, why: str) -> wire.TestEventResult:
    return _result("", tree, name, answer.EndpointAnswer(code="", status=0, error=f"{why}: not sent"))


def _result(identity: str, tree: settings.Settings, name: str, reply: answer.EndpointAnswer) -> wire.TestEventResult:
    return wire.TestEventResult(
        id=identity,
        type=render.test_event_type(wiring.names_of(tree)),
        endpoint=name,
        code=reply.code,
        status=reply.status,
        error=reply.error,
        seconds=round(reply.duration_s, 4),
        request_id=reply.request_id,
        clock_offset_s=clock_offset_s(reply.date, time.time(), reply.duration_s),
    )


def clock_offset_s(date: str, now_s: float, duration_s: float) -> float | None:
    """Return by how many seconds an endpoint's `Date` is ahead of our clock, None if it sent none.

    It has a resolution of a second, and may be from any moment of the request: less is no difference.
    """
    try:
        offset_s = email.utils.parsedate_to_datetime(date).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return 0.0 if -1 - duration_s <= offset_s <= 1 else round(offset_s, 1)
