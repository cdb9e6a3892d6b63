"""Start the notifier: `python -m beacon.notifier`. Wiring only."""

import os

from beacon import bus, log, process, settings
from beacon.notifier import bearer, channel, configured, deadline, dispatch, record


def main(context: process.Context) -> None:
    """Deliver until told to stop."""
    beats = context.heart("claims").beat
    where = bus.address(context.run_dir)
    with bus.Client(where, stop=context.stop, on_beat=beats) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    told = record.Record(tree.endpoint.name, report=context.report, logger=log.get())
    if tree.endpoint.tls.insecure_skip_verify:
        log.get().warning("endpoint's certificate not verified", endpoint=tree.endpoint.name)
    for value in tree.endpoint.headers.values():
        log.register_secret(value)
    watchdog = deadline.Watchdog()
    context.spawn("watchdog", lambda: watchdog.run(context.heart("requests").beat))
    token = bearer.Bearer(
        value=os.environ.get("ENDPOINT_AUTH_TOKEN", ""),
        file=os.environ.get("ENDPOINT_AUTH_TOKEN_FILE", ""),
        on_new=log.register_secret,
    )
    sender = channel.Channel(configured.target_of(tree), token=token.token, watchdog=watchdog, on_trouble=told.trouble)
    dispatch.Dispatcher(
        configured.terms_of(tree),
        sender,
        connect=lambda: bus.Client(where, stop=context.stop, on_beat=beats),
        start=context.spawn,
        stop=context.stop,
        sever=watchdog.sever,
        record=told,
    ).run()


if __name__ == "__main__":
    process.run("notifier", main)
