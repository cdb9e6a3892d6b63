"""The store process: reads the configuration, takes the locks, binds the socket, opens the ledger and serves it."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from beacon import bus
from beacon.bus import bus_server
from beacon.configuration import config_subprocess, settings
from beacon.runtime import log, process
from beacon.store import wiring
from beacon.store.ledger import clock, database, directory_lock
from beacon.store.recovery import integrity, salvage
from beacon.store.server import daemon, disk_guard, observer, ownership, service


def main(context: process.Context) -> None:
    """Serve until the process is asked to stop."""
    loaded = config_subprocess.read(os.environ)
    tree = settings.from_plain(loaded.settings)
    process.log_as("store", tree.app)
    for warning in loaded.warnings:
        log.get().warning("configuration", problem=warning)
    directory = Path(tree.storage.db_path).parent
    with (
        directory_lock.locked(directory, "the database directory"),
        directory_lock.locked(context.run_dir, "the run directory"),
        bus_server.BusServer(bus.address(context.run_dir)) as server,
    ):
        _serve(context, server, tree, loaded.settings)


def _serve(
    context: process.Context, server: bus_server.BusServer, tree: settings.Settings, plain: Mapping[str, object]
) -> None:
    heartbeat = context.heartbeat("main")
    path = Path(tree.storage.db_path)
    digest = settings.digest(tree)
    listener = observer.started()
    config = wiring.ledger_config_of(tree)
    rescue_config = salvage.RescueConfig(
        scopes=tuple(scope.id for scope in config.scopes), endpoint=tree.endpoint.name, endpoints=config.endpoints
    )
    opening = daemon.Opening("opening the ledger", settings=plain, digest=digest, listener=listener.progressed)
    owner = ownership.Ownership(
        path.parent,
        context.run_dir,
        host=socket.gethostname(),
        boot=clock.boot_id(),
        waits=listener.waits,
        sleep=context.sleep,
    )

    def open_ledger() -> tuple[database.Database, service.StoreService]:
        owner.acquire(opening.report)
        opened = integrity.open_checked(path, rescue_config, opening.report, time.time_ns() // 1000)
        listener.opened(opened)
        disk = disk_guard.DiskGuard(path, reserve_bytes=tree.storage.reserve_bytes)
        return opened.ledger, service.StoreService(
            opened.ledger, config, settings=plain, digest=digest, disk=disk, listener=listener
        )

    def beat() -> None:
        heartbeat.beat()
        owner.confirm()

    with integrity.damage_marked(path):
        ledger, served = daemon.answer_while(server, opening, beat, open_ledger)
        log.get().info("serving", ledger=served.ledger_id, database=str(path))
        context.stop.wakes(server.wake)
        with ledger.forsaken_on(ownership.LostError):
            daemon.Daemon(server, served, listener, confirm=owner.confirm).serve(stop=context.stop, beat=beat)
    ledger.close()
    integrity.mark_clean(path)
    owner.release()


if __name__ == "__main__":
    process.run("store", main)
