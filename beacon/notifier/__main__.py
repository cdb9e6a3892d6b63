"""Start the notifier: `python -m beacon.notifier`. Wiring only."""

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
    wiring,
)
from beacon.runtime import log, process


def main(context: process.Context) -> None:
    """Deliver until told to stop."""
    with closing(context.heartbeat("claims")) as claims:
        where, beat = bus.address(context.run_dir), claims.beat
        deliver(context, lambda: bus.Client(where, stop=context.stop, on_beat=beat), beat)


def deliver(context: process.Context, connect: ports.Connect, beat: Callable[[], None]) -> None:
    """Deliver what the store has, as the configuration that it gives says."""
    with connect() as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    if tree.endpoint.tls.insecure_skip_verify:
        log.get().warning("endpoint's certificate not verified", endpoint=tree.endpoint.name)
    told = telemetry.Telemetry(tree.endpoint.name, report=context.report, logger=log.get().bind())
    token = auth_token.Bearer(
        value=os.environ.get("ENDPOINT_AUTH_TOKEN", ""),
        file=os.environ.get("ENDPOINT_AUTH_TOKEN_FILE", ""),
        on_new=lambda secret: conceal(masking.forms((secret,))),
    )
    token.wait(context.stop, beat=beat, on_wait=told.held_back)
    watchdog = deadline.Watchdog()
    context.spawn("watchdog", lambda: watch(context, watchdog))
    sender = http_sender.HttpSender(
        wiring.target_of(tree), token=token.token, watchdog=watchdog, on_trouble=told.trouble
    )
    conceal(sender.secrets)
    most = dispatch.most_marks(tree.worker.concurrency)
    under_way = in_flight_marks.kept(
        context.run_dir / "notifier.marks", most=most, failed=lambda: bool(context.failure)
    )
    with closing(sender), under_way as marked:
        dispatch.Dispatcher(
            wiring.terms_of(tree),
            sender,
            connect=connect,
            start=context.spawn,
            stop=context.stop,
            line=watchdog,
            record=told,
            marked=marked,
        ).run()


def conceal(secrets: Iterable[str]) -> None:
    """Mask secrets in the log from now on."""
    for secret in secrets:
        log.register_secret(secret)


def watch(context: process.Context, watchdog: deadline.Watchdog) -> None:
    """Hold requests to their deadlines; this heart stops when a thread is stuck in a request for good."""
    with closing(context.heartbeat("requests")) as requests:
        watchdog.run(requests.beat)


if __name__ == "__main__":
    process.run("notifier", main)
