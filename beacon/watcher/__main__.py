"""`python -m beacon.watcher`: wires the streams to the store and the API server."""

import os

from beacon import bus
from beacon.cluster import connection, credentials
from beacon.configuration import configured_scopes, settings
from beacon.runtime import log, process
from beacon.watcher import policy, runner


def main(context: process.Context) -> None:
    """Follow every configured scope until the process is to stop."""
    heart = context.heart("main")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    scopes = configured_scopes.of(tree)
    load = credentials.source(os.environ, connections=len(scopes) + runner.SPARE_CONNECTIONS)
    log.get().info("watching begins", scopes=len(scopes))
    runner.follow(context, scopes, connection.Connection(load), policy.Timing(), beat=heart.beat)
    heart.close()


if __name__ == "__main__":
    process.run("watcher", main)
