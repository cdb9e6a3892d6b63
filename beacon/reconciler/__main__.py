"""`python -m beacon.reconciler`: wires the cleaner and the storage monitor to the store."""

from contextlib import closing

from beacon import bus, process, settings
from beacon.reconciler import clean, storage


def main(context: process.Context) -> None:
    """Keep the ledger small and the volume watched until the process is to stop."""
    heart = context.heart("main")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    heart.close()
    context.spawn("clean", lambda: keep_clean(context, tree))
    context.stop.wait()
    context.join()


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
