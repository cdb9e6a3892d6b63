"""Start the exporter: `python -m beacon.exporter`. Wiring only."""

import os

from beacon import bus
from beacon.configuration import configured_scopes, settings
from beacon.exporter import endpoint, routes, snapshot, store_poller
from beacon.runtime import log, process, run_directory


def main(context: process.Context) -> None:
    """Serve until the process is asked to stop."""
    heart = context.heartbeat("asker")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
        poller = store_poller.StorePoller(context.stop)
        context.stop.wakes(poller.wake)
        reader = snapshot.SnapshotReader(context.run_dir, poller.ask, supervised="SUPERVISOR_ENABLED" in os.environ)
        served = routes.Routes(
            reader.read, run_directory.metrics_directory(context.run_dir), scopes=len(configured_scopes.of(tree))
        )
        listeners = [endpoint.HttpEndpoint(port.number, port.key, port.routes) for port in routes.ports(tree, served)]
        for listener in listeners:
            for work in listener.threads:
                context.spawn(work.name, work.run)
            log.get().info("listening", port=listener.port, paths=listener.routes)
        poller.run(client, heart.beat)


if __name__ == "__main__":
    process.run("exporter", main)
