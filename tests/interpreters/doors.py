"""Beacon's clients of the API server and of the endpoint, connected to a test server."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beacon import errors
from beacon.cluster import connection, credentials
from beacon.notifier.transport import blocking_sender, route, tls_context


def write_kubeconfig(
    path: Path, server: str, *, cluster: Mapping[str, Any] | None = None, user: Mapping[str, Any] | None = None
) -> Path:
    named = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "me", "user": dict(user or {})}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "me"}}],
    }
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **named}))
    return path


def open_api(kubeconfig: Path, **environ: str) -> connection.Connection:
    load = credentials.source({**os.environ, **environ, "KUBECONFIG": str(kubeconfig)}, connections=2)
    return connection.Connection(load, connect_s=3, read_s=5)


def ask_api(directory: Path, url: str, cluster: Mapping[str, Any]) -> str:
    """Send a request to the API server; return "" for a response, else the error."""
    try:
        open_api(write_kubeconfig(directory / "kubeconfig", url, cluster=cluster)).get("/version")
    except errors.TransientError as error:
        return str(error)
    return ""


@contextmanager
def endpoint_door(url: str, *, ca: Path | None = None) -> Iterator[blocking_sender.BlockingSender]:
    files = tls_context.TlsFiles(ca=str(ca) if ca else "")
    target = route.Target(url=url, method="POST", agent="beacon/1", width=2, files=files)
    sender = blocking_sender.BlockingSender(target, token=lambda: "")
    try:
        yield sender
    finally:
        sender.close()


def ask_endpoint(url: str, *, ca: Path | None = None, timeout_s: float = 5.0) -> str:
    """Send one event; return "" for success, else the code and the error."""
    with endpoint_door(url, ca=ca) as sender:
        came = sender.send(b"{}", event_id="1", timeout_s=timeout_s)
    return "" if came.status == 200 else f"{came.code}: {came.error}"
