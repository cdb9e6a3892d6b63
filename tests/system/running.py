"""The complete system on one machine: an embedded API server, a test endpoint, and a Beacon between them."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon.dev import endpoint, testkit
from beacon.dev.api_server import server
from tests.system import load


@dataclass(frozen=True)
class Everything:
    """A cluster, an endpoint and a ready Beacon."""

    cluster: server.ApiServer
    sink: endpoint.SinkServer
    beacon: testkit.Beacon


@contextlib.contextmanager
def everything(
    *,
    changes: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    on_line: Callable[[dict[str, Any]], None] = lambda _line: None,
    **behavior: Any,
) -> Iterator[Everything]:
    """Run everything; `changes` are keys of Beacon's configuration, `behavior` are settings of the endpoint.

    `on_line` gets each line of Beacon's log in the thread that reads it.
    """
    with (
        tempfile.TemporaryDirectory(prefix="b") as name,
        server.running(bookmark_interval_s=1.0) as cluster,
        endpoint.running(**behavior) as sink,
    ):
        config: dict[str, Any] = {
            "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "annotation": {"key": load.ANNOTATION},
            "events": {"updated": True},
            "endpoint": {"url": sink.url},
        }
        kubeconfig = cluster.kubeconfig(Path(name) / "kubeconfig")
        merged = config | dict(changes or {})
        merged["endpoint"] = {"url": sink.url} | dict(merged["endpoint"])
        with testkit.Beacon(
            Path(name), config=merged, kubeconfig=kubeconfig, environ=environ, on_line=on_line
        ) as beacon:
            beacon.wait_ready()
            yield Everything(cluster, sink, beacon)
