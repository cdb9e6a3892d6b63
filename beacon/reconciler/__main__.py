"""`python -m beacon.reconciler`: starts the reconciler's components, each in threads of its own."""

import time
from contextlib import closing

from beacon import bus
from beacon.configuration import settings
from beacon.reconciler import backups, clean, reconcile, storage
from beacon.runtime import heartbeat as beats
from beacon.runtime import log, process

_WIND_DOWN_S = 2.5


def main(context: process.Context) -> None:
    """Run every component until the process is asked to stop; a thread that then hangs in a request is abandoned."""
    heartbeat = context.heartbeat("main")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    threads = [context.spawn("clean", lambda: keep_clean(context, tree)), *reconcile.spawn(context, tree)]
    context.spawn("backup", lambda: back_up(context, tree))
    log.get().info("reconciling started", threads=len(threads))
    while not context.sleep(beats.IDLE_S):
        heartbeat.beat()
    deadline = time.monotonic() + _WIND_DOWN_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    heartbeat.close()


def keep_clean(context: process.Context, tree: settings.Settings) -> None:
    """Run the cleaner, and in another thread the storage monitor, which triggers it when the volume is full."""
    with closing(context.heartbeat("clean")) as heartbeat:
        cleaner = clean.Cleaner(tree.retention, stop=context.stop, beat=heartbeat.beat, report=context.report)
        context.stop.wakes(cleaner.hurry.set)
        context.spawn("storage", lambda: watch_storage(context, tree, cleaner))
        with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:
            cleaner.run(client)


def watch_storage(context: process.Context, tree: settings.Settings, cleaner: clean.Cleaner) -> None:
    """Run the storage monitor."""
    with closing(context.heartbeat("storage")) as heartbeat:
        monitor = storage.Monitor(tree.storage, report=context.report, on_critical=cleaner.hurry.set)
        monitor.run(context.stop, heartbeat.beat)


def back_up(context: process.Context, tree: settings.Settings) -> None:
    """Make scheduled backups, or remove what an interrupted one left if they are off."""
    with closing(context.heartbeat("backup")) as heartbeat:
        deps = backups.BackupDependencies(stop=context.stop, beat=heartbeat.beat, report=context.report)
        scheduled = backups.ScheduledBackups(tree.backup, tree.storage, deps)
        if not tree.backup.interval_s:
            scheduled.remove_staged()
            return
        with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:
            scheduled.run(client)


if __name__ == "__main__":
    process.run("reconciler", main)
