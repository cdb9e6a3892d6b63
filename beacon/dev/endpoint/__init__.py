"""The test endpoint: an HTTP receiver that checks Beacon's requests and fails on request.

Tests use it in process (`with endpoint.running(mode="failure") as sink`), demos and benchmarks as a program
(`python -m beacon.dev.endpoint`). It may import `beacon.codec` and `beacon.errors`. It must not import the notifier:
it checks the public contract independently, so that both can't contain the same mistake. Start reading at `server`,
then `app` and `modes`.
"""

from beacon.dev.endpoint.modes import SinkMode, SinkRule
from beacon.dev.endpoint.server import SinkServer, running

__all__ = ["SinkMode", "SinkRule", "SinkServer", "running"]
