"""Start the notifier: `python -m beacon.notifier`. Wiring only."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable
from contextlib import closing

from beacon import bus
from beacon.configuration import settings
from beacon.notifier import (
    auth_token,
    deadline,
    dispatch,
    http_sender,
    in_flight_marks,
    masking,
    ports,
    telemetry,
    test_event,
    wiring,
)
from beacon.runtime import log, process


def main(context: process.Context) -> None:
    """Deliver until the process is asked to stop."""
    with closing(context.heartbeat("claims")) as claims:
        where, beat = bus.address(context.run_dir), claims.beat
        deliver(context, lambda: bus.Client(where, stop=context.stop, on_beat=beat), beat)


def deliver(context: process.Context, connect: ports.Connect, beat: Callable[[], None]) -> None:
    """Deliver the store's events, with the configuration that the store returns."""
    with connect() as client:
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
    watchdog = deadline.Watchdog()
    context.spawn("watchdog", lambda: watch(context, watchdog))
    sender = http_sender.HttpSender(
        wiring.target_of(tree), token=token.token, watchdog=watchdog, on_tls_error=recorder.tls_failed
    )
    conceal(sender.secrets)
    most = dispatch.most_marks(tree.worker.concurrency)
    opened_marks = in_flight_marks.open_marks(
        context.run_dir / "notifier.marks", most=most, ledger=ledger, failed=lambda: bool(context.failure)
    )
    with closing(sender), opened_marks as marks, contextlib.ExitStack() as at_end:
        at_end.callback(recorder.finish)
        dispatch.Dispatcher(
            wiring.config_of(tree),
            sender,
            connect=connect,
            start=context.spawn,
            stop=context.stop,
            deadlines=watchdog,
            telemetry=recorder,
            marks=marks,
        ).run()


def conceal(secrets: Iterable[str]) -> None:
    """Mask secrets in all later log lines."""
    for secret in secrets:
        log.register_secret(secret)


def watch(context: process.Context, watchdog: deadline.Watchdog) -> None:
    """Enforce the deadlines of requests; the heartbeat stops when a thread stays stuck in a request."""
    with closing(context.heartbeat("requests")) as requests:
        watchdog.run(requests.beat)


if __name__ == "__main__":
    process.run("notifier", main)
