"""The store's real loop for the scopes of a watcher test, as a process: give it a directory and what is configured.

That is JSON: {"entries": [{"api_version", "kind", ...}], "values": [...] or null, "updates": bool}.
"""

import sys
import threading
from pathlib import Path
from typing import Any

from beacon import bus, codec
from beacon.bus import bus_server
from beacon.domain import rules
from beacon.store.ledger import database, directory_lock, endpoints
from beacon.store.server import daemon, service
from beacon.store.verbs import alignment

ANNOTATION = "bakerapps.net.maas"


def scopes_of(configured: dict[str, Any]) -> tuple[rules.Scope, ...]:
    entries = [rules.Entry(**entry) for entry in configured["entries"]]
    return rules.scopes(entries, annotation=ANNOTATION, values=configured.get("values"))


def main(directory: Path, configured: dict[str, Any]) -> None:
    with directory_lock.locked(directory, "the directory"), bus_server.BusServer(bus.address(directory)) as server:
        ledger = database.Database(directory / "e.db")
        terms = alignment.LedgerConfig(
            scopes=scopes_of(configured),
            endpoints=(endpoints.LedgerEndpoint(name="default"),),
            updates=configured.get("updates", False),
        )
        served = service.StoreService(ledger, terms, settings={}, digest=repr(configured))
        print("ready", flush=True)
        daemon.Daemon(server, served, service.ServiceListener()).serve(stop=threading.Event(), beat=lambda: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), codec.decode(sys.argv[2]))
