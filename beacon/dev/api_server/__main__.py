"""Run the embedded API server as a program: `python -m beacon.dev.api_server --kubeconfig FILE`.

It prints one line of JSON when it is ready, and stops on SIGTERM or SIGINT. Wiring only.
"""

import argparse
import gc
import json
import signal
import sys

from beacon import errors
from beacon.dev.api_server import server, service


def main() -> int:
    """Serve until SIGTERM or SIGINT arrives."""
    parser = argparse.ArgumentParser(prog="python -m beacon.dev.api_server", description="An embedded Kubernetes API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
    parser.add_argument("--kubeconfig", help="write a kubeconfig for kubectl to this file")
    parser.add_argument("--no-tls", action="store_true", help="plain HTTP; kubectl sends no token then")
    parser.add_argument("--history", type=int, default=10_000, help="changes kept per resource")
    parser.add_argument("--bookmark-interval", type=float, default=60.0, metavar="SECONDS")
    wanted = parser.parse_args()
    settings = service.ApiSettings(
        host=wanted.host,
        port=wanted.port,
        tls=not wanted.no_tls,
        history=wanted.history,
        bookmark_interval_s=wanted.bookmark_interval,
    )
    # Blocked before the server's thread exists, so that only this thread receives the signals.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    # Collecting 100,000 objects blocks for a tenth of a second, so the oldest generation is collected rarely.
    gc.set_threshold(100_000, 100, 1000)
    cluster = server.ApiServer(settings)
    try:
        cluster.start()
    except OSError as error:
        sys.stderr.write(f"The embedded API server can't listen on {wanted.host}:{wanted.port}: {error.strerror}\n")
        return errors.EXIT_TEMPORARY
    path = str(cluster.kubeconfig(wanted.kubeconfig)) if wanted.kubeconfig else None
    ready = {"url": cluster.url, "kubeconfig": path, "token": cluster.token, "ca": cluster.ca_pem.decode()}
    print(json.dumps(ready), flush=True)
    signal.sigwait(signals)
    cluster.stop()
    return errors.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
