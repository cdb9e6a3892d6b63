"""`python -m beacon.watcher`: connects one stream per scope to the store and the API server."""

import os

from beacon import bus
from beacon.cluster import connection, credentials
from beacon.configuration import configured_scopes, settings
from beacon.runtime import log, process
from beacon.watcher import policy, runner

_OTHER_FILES = 64  # beside one for each watch: lists and discovery, the bus, metrics, logs


def main(context: process.Context) -> None:
    """Watch every configured scope until the process is asked to stop."""
    heartbeat = context.heartbeat("main")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heartbeat.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    scopes = configured_scopes.of(tree)
    process.check_files(len(scopes) + _OTHER_FILES, f"{len(scopes)} scopes")
    load = credentials.source(os.environ, connections=len(scopes) + runner.QUICK_THREADS)
    log.get().info("watching started", scopes=len(scopes))
    runner.follow(context, scopes, connection.Connection(load), policy.Timing(), beat=heartbeat.beat)
    heartbeat.close()


if __name__ == "__main__":
    process.run("watcher", main)
