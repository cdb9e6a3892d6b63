"""`python -m beacon.reconciler`: starts what keeps the ledger true, each component in threads of its own."""

import time

from beacon import bus, log, process, settings
from beacon.reconciler import reconcile

_BEAT_S = 1.0
_WIND_DOWN_S = 2.5
_COMPONENTS = (reconcile.spawn,)  # each starts its threads and returns them


def main(context: process.Context) -> None:
    """Run every component until the process is to stop; a thread that then hangs in a request is left behind."""
    heart = context.heart("main")
    with bus.Client(bus.address(context.run_dir), stop=context.stop, on_beat=heart.beat) as client:
        tree = settings.from_plain(process.obtain_settings(context, client))
    threads = [thread for spawn in _COMPONENTS for thread in spawn(context, tree)]
    log.get().info("reconciling begins", threads=len(threads))
    while not context.sleep(_BEAT_S):
        heart.beat()
    deadline = time.monotonic() + _WIND_DOWN_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    heart.close()


if __name__ == "__main__":
    process.run("reconciler", main)
