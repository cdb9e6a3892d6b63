"""The embedded cluster as a Python object: start it, change and read objects, inject faults.

Every method may be called from any thread. Objects are written directly to the storage, without HTTP, which makes
thousands of changes a second possible. The methods must not wait for a client to react.
"""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from beacon.dev.api_server import access, app, control, kinds, listener, patches, routing, service, state, status

Json = dict[str, Any]


class ApiServer:
    """An API server for tests and demos; a context manager."""

    def __init__(self, settings: service.ApiSettings | None = None) -> None:
        self.settings = settings or service.ApiSettings()
        self.cluster = service.ApiService(self.settings)
        self.faults = control.Control(self.cluster)
        self.token = self.cluster.access.issue("admin", [access.ADMIN_GROUP])
        application = app.Api(self.cluster, self.faults)
        self._listener = listener.SocketListener(self.settings, application, self.cluster.attach)
        self.cluster.abort, self.cluster.close = self._listener.abort, self._listener.close
        self.faults.restarting = self.restart
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self.namespace(name)

    def start(self) -> "ApiServer":
        """Listen; return when requests are answered."""
        self._listener.start()
        self.cluster.address = f"{self.settings.host}:{self._listener.port}"
        return self

    def stop(self) -> None:
        """Stop at once and break all connections."""
        self._listener.stop()

    def restart(self, downtime_s: float = 0.0) -> None:
        """Stop, stay down for `downtime_s`, and start on the same port with an empty watch cache."""
        self._listener.restart(downtime_s, lambda: self.cluster.state.forget(compact=False))

    def rotate_authority(self, successor: trustme.CA) -> None:
        """Restart with a certificate of another authority."""
        self._listener.rotate_authority(successor)
        self.restart()

    @property
    def url(self) -> str:
        """Return the address, such as `https://127.0.0.1:43210`."""
        return f"{'https' if self.settings.tls else 'http'}://{self.cluster.address}"

    @property
    def ca_pem(self) -> bytes:
        """Return the certificate authority that clients must trust."""
        return self._listener.ca_pem

    @property
    def version(self) -> int:
        """Return the current resourceVersion."""
        return self.cluster.state.version

    def kubeconfig(self, path: Path | str, *, token: str = "", namespace: str = "default") -> Path:
        """Write a kubeconfig for the administrator, or for another token, and return its path."""
        endpoint: Json = {"server": self.url}
        if self.ca_pem:
            endpoint["certificate-authority-data"] = base64.b64encode(self.ca_pem).decode()
        context = {"cluster": "beacon-dev", "user": "beacon-dev", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "beacon-dev", "cluster": endpoint}],
            "users": [{"name": "beacon-dev", "user": {"token": token or self.token}}],
            "contexts": [{"name": "beacon-dev", "context": context}],
            "current-context": "beacon-dev",
        }
        path = Path(path)
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=1))
        return path

    def watches(self) -> "list[routing.Info]":
        """Return the requests of the open watches."""
        return self.cluster.in_loop(lambda: [watch.info for watch in self.cluster.watches])

    def requests(self, *, verb: str = "", resource: str = "") -> "list[service.Answered]":
        """Return the requests answered so far, oldest first; optionally only those with one verb or resource."""
        answered = self.cluster.answered.copy()
        return [entry for entry in answered if verb in {"", entry.verb} and resource in {"", entry.resource}]

    def namespace(self, name: str) -> Json:
        """Return a namespace. Create it if it does not exist."""
        kind = self._kind("namespaces")
        found = self.cluster.state.get(kind.storage, ("", name))
        return (found or self.cluster.life.create(kind, "", {"metadata": {"name": name}})).obj

    def create(self, resource: str, obj: Json, *, namespace: str = "") -> Json:
        """Create an object. `resource` is `pods` or `deployments.apps`. Raises `status.ApiError`."""
        kind = self._kind(resource)
        where = namespace or obj["metadata"].get("namespace") or "default"
        return self.cluster.life.create(kind, where if kind.namespaced else "", obj).obj

    def put(self, resource: str, obj: Json, *, namespace: str = "") -> Json:
        """Create an object, or replace the one with that name."""
        kind = self._kind(resource)
        key = self._key(kind, obj["metadata"]["name"], namespace or obj["metadata"].get("namespace", ""))
        with self.cluster.state.lock:
            if self.cluster.state.get(kind.storage, key) is None:
                return self.cluster.life.create(kind, key[0], obj).obj
            return self.cluster.life.update(kind, key, lambda _: obj).obj

    def get(self, resource: str, name: str, *, namespace: str = "") -> Json | None:
        """Return an object, or None."""
        kind = self._kind(resource)
        found = self.cluster.state.get(kind.storage, self._key(kind, name, namespace))
        return found.obj if found else None

    def list(self, resource: str) -> "list[Json]":
        """Return all objects of a resource, of every namespace."""
        kind = self._kind(resource)
        return [stored.obj for stored in self.cluster.state.objects_at(kind.storage, self.version) or []]

    def patch(self, resource: str, name: str, patch: Json, *, namespace: str = "") -> Json:
        """Apply a merge patch and return the object."""
        kind = self._kind(resource)
        key = self._key(kind, name, namespace)
        return self.cluster.life.update(kind, key, lambda current: patches.merge(current, patch)).obj

    def annotate(self, resource: str, name: str, annotations: dict[str, str | None], *, namespace: str = "") -> Json:
        """Set annotations, or remove those that are None."""
        return self.patch(resource, name, {"metadata": {"annotations": annotations}}, namespace=namespace)

    def label(self, resource: str, name: str, labels: dict[str, str | None], *, namespace: str = "") -> Json:
        """Set labels, or remove those that are None."""
        return self.patch(resource, name, {"metadata": {"labels": labels}}, namespace=namespace)

    def delete(self, resource: str, name: str, *, namespace: str = "") -> None:
        """Delete an object, or mark it if it has finalizers. Raises `status.ApiError` if it does not exist."""
        kind = self._kind(resource)
        self.cluster.life.delete(kind, self._key(kind, name, namespace))

    def define(self, plural: str, group: str, kind: str, *, version: str = "v1", namespaced: bool = True) -> Json:
        """Create a CustomResourceDefinition; its resource is served from now on as `plural.group`."""
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        spec = {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        }
        obj = {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}
        return self.create("customresourcedefinitions.apiextensions.k8s.io", obj)

    def __enter__(self) -> "ApiServer":
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _kind(self, resource: str) -> kinds.ServedKind:
        try:
            return self.cluster.registry.find(resource)
        except KeyError as error:
            raise status.no_such_resource() from error

    def _key(self, kind: kinds.ServedKind, name: str, namespace: str) -> state.Key:
        return (namespace or "default") if kind.namespaced else "", name


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[ApiServer]:
    """Run a server with these settings (see `service.ApiSettings`) while the context is open."""
    with ApiServer(service.ApiSettings(**settings)) as server:
        yield server
