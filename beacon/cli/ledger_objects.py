"""Reads the objects in the running Beacon's ledger page by page, so that the store's writes do not wait."""

import os
import threading

from beacon import bus, wire
from beacon.cli import plan_model
from beacon.runtime import run_directory

_TIMEOUT_S = 5.0


def read() -> plan_model.Ledger:
    """Read every object that is not gone.

    Raises:
        errors.BeaconError: no store runs here, or it does not answer.
    """
    objects: dict[str, wire.HeldObject] = {}
    page = wire.ObjectPage(cluster="", epoch=0, objects=(), after="", more=True)
    with bus.Client(bus.address(run_directory.private(os.environ)), stop=threading.Event()) as client:
        while page.more:
            page = _page(client, page.after)
            objects.update((one.uid, one) for one in page.objects)
    return plan_model.Ledger(cluster=page.cluster, epoch=page.epoch, objects=objects)


def _page(client: bus.Client, after: str) -> wire.ObjectPage:
    return client.try_call(wire.ReadObjects(after=after), timeout_s=_TIMEOUT_S)
