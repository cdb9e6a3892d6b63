"""Start the notifier: `python -m beacon.notifier`. Wiring only."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing

from beacon import bus
from beacon.configuration import settings
from beacon.notifier import test_event, wiring
from beacon.notifier.delivery import dispatch, endpoint, guarded_endpoint, in_flight_marks, telemetry, window
from beacon.notifier.transport import auth_token, event_loop, http_sender, masking
from beacon.runtime import log, process

Beat = Callable[[], None]
Connect = Callable[[Beat], bus.Client]


def main(context: process.Context) -> None:
    """Deliver until the process is asked to stop."""
    with closing(context.heartbeat("claims")) as claims:
        where = bus.address(context.run_dir)
        deliver(context, lambda beat: bus.Client(where, stop=context.stop, on_beat=beat), claims.beat)


def deliver(context: process.Context, connect: Connect, beat: Beat) -> None:
    """Deliver the store's events, with the configuration that the store returns."""
    with connect(beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
        ledger = client.ledger
    if tree.endpoint.tls.insecure_skip_verify:
        log.get().warning("certificate verification disabled", endpoint=tree.endpoint.name)
    recorder = telemetry.Telemetry(tree.endpoint.name, report=context.report, logger=log.get().bind())
    token = auth_token.AuthToken(
        value=os.environ.get("ENDPOINT_AUTH_TOKEN", ""),
        file=os.environ.get("ENDPOINT_AUTH_TOKEN_FILE", ""),
        on_new=lambda secret: conceal(masking.forms((secret,))),
    )
    plain = functools.partial(bus.Client, bus.address(context.run_dir), stop=context.stop)  # without a heartbeat
    context.spawn("test-events", lambda: test_event.serve(plain, tree, os.environ, context.stop))
    token.wait(context.stop, beat=beat, on_wait=recorder.held_back)
    opened_marks = in_flight_marks.open_marks(
        context.run_dir / "notifier.marks",
        most=window.most_marks(tree.worker.concurrency),
        ledger=ledger,
        failed=lambda: bool(context.failure),
    )
    with contextlib.ExitStack() as at_end, closing(event_loop.EventLoop()) as loop, opened_marks as marks:
        at_end.callback(recorder.finish)
        sender = http_sender.HttpSender(
            wiring.target_of(tree),
            token=token.token,
            loop=loop,
            start=context.spawn,
            on_tls_error=recorder.tls_failed,
            on_fault=recorder.faulted,
        )
        conceal(sender.secrets)
        with closing(sender):
            served = endpoint.EndpointDelivery(
                wiring.config_of(tree), sender, stop=context.stop, telemetry=recorder, marks=marks
            )
            guarded = guarded_endpoint.GuardedEndpoint(served, telemetry=recorder)
            beat_unless_stuck = functools.partial(beat_unless, lambda: sender.is_stuck(time.monotonic()), beat)
            dispatcher = dispatch.Dispatcher(
                [guarded], loop=loop, connect=lambda: connect(beat_unless_stuck), stop=context.stop, ledger=marks.ledger
            )
            context.stop.wakes(dispatcher.wake)
            dispatcher.run()


def beat_unless(is_stuck: Callable[[], bool], beat: Beat) -> None:
    """Write a heartbeat, unless a thread that opens a connection stays stuck."""
    if not is_stuck():
        beat()


def conceal(secrets: Iterable[str]) -> None:
    """Mask secrets in all later log lines."""
    for secret in secrets:
        log.register_secret(secret)


if __name__ == "__main__":
    process.run("notifier", main)
