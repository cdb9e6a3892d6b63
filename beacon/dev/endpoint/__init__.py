"""The test endpoint: an HTTP receiver of Beacon's events that checks what it gets and misbehaves on request.

Tests use it in process (`with endpoint.running(mode="failure") as sink`), demos and benchmarks as a program
(`python -m beacon.dev.endpoint`). It judges what arrives by the public contract alone and imports nothing of the
notifier, so that a mistake there can't hide behind the same mistake here.
"""

from beacon.dev.endpoint.modes import SinkMode, SinkRule
from beacon.dev.endpoint.server import SinkServer, running

__all__ = ["SinkMode", "SinkRule", "SinkServer", "running"]
