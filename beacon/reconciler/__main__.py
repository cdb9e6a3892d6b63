"""`python -m beacon.reconciler`: starts what keeps the ledger true and small, each component in threads of its own."""

import time
from contextlib import closing

from beacon import bus
from beacon.configuration import settings
from beacon.reconciler import clean, reconcile, storage
from beacon.runtime import log, process

_BEAT_S = 1.0
_WIND_DOWN_S = 2.5


def main(context: process.Context) -> None:
    """Run every component until the process is to stop; a thread that then hangs in a request is left behind."""
    heart = context.heart("main")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    threads = [context.spawn("clean", lambda: keep_clean(context, tree)), *reconcile.spawn(context, tree)]
    log.get().info("reconciling begins", threads=len(threads))
    while not context.sleep(_BEAT_S):
        heart.beat()
    deadline = time.monotonic() + _WIND_DOWN_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    heart.close()


def keep_clean(context: process.Context, tree: settings.Settings) -> None:
    """Run the cleaner, and beside it the monitor that hurries it."""
    with closing(context.heart("clean")) as heart:
        cleaner = clean.Cleaner(tree.retention, stop=context.stop, beat=heart.beat, report=context.report)
        context.spawn("storage", lambda: watch_storage(context, tree, cleaner))
        with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
            cleaner.run(client)


def watch_storage(context: process.Context, tree: settings.Settings, cleaner: clean.Cleaner) -> None:
    """Run the storage monitor."""
    with closing(context.heart("storage")) as heart:
        monitor = storage.Monitor(tree.storage, report=context.report, on_critical=cleaner.hurry.set)
        monitor.run(context.stop, heart.beat)


if __name__ == "__main__":
    process.run("reconciler", main)
