"""The store's real loop on a real file and socket, without the configuration around it, so that it starts quickly.

`python -m tests.integration.store_process DIRECTORY` serves until it is killed; prints one line when it is ready.
"""

import sys
import threading
from pathlib import Path

from beacon import bus
from beacon.bus import bus_server
from beacon.store.ledger import database, directory_lock, endpoints
from beacon.store.server import daemon, service
from beacon.store.verbs import alignment
from tests.unit.store import world


def main(directory: Path) -> None:
    with directory_lock.locked(directory, "the directory"), bus_server.BusServer(bus.address(directory)) as server:
        ledger = database.Database(directory / "e.db")
        terms = alignment.LedgerConfig(
            scopes=(world.scope_of(),), endpoints=(endpoints.LedgerEndpoint(name="default"),), updates=True
        )
        served = service.StoreService(ledger, terms, settings={}, digest="d")
        print("ready", flush=True)
        daemon.Daemon(server, served, service.ServiceListener()).serve(stop=threading.Event(), beat=lambda: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
