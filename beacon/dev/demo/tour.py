"""The tour: changes objects of two kinds step by step, and waits for each notification before the next step.

`STEPS` lists each change with the expected notification. Only this module changes objects, and it must do so only in
the embedded API server.
"""

import shutil
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beacon import errors
from beacon.dev import testkit
from beacon.dev.api_server import remote
from beacon.dev.demo import console, environment

Json = dict[str, Any]

KEY = "bakerapps.net.maas"
NOTIFIED_WITHIN_S = 20.0

_CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_MERGE = "application/merge-patch+json"
_LABELS = {"app": "web"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TourStep:
    """A change of an object and the expected notification: change, kind and name; empty if none is expected."""

    text: str
    method: str
    path: str
    body: Json | None = None
    expected: str = ""


def config(endpoint_url: str) -> Json:
    """Return Beacon's configuration for the tour."""
    return {
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "apps/v1", "kind": "Deployment"}],
        "annotation": {"key": KEY},
        "events": {"updated": True},
        "endpoint": {"url": endpoint_url},
    }


def _annotated(value: str | None) -> Json:
    return {"metadata": {"annotations": {KEY: value}}}


def _deployment(name: str) -> Json:
    container = {"name": "web", "image": "registry.example/web:1"}
    template = {"metadata": {"labels": _LABELS}, "spec": {"containers": [container]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": _LABELS}, "template": template}}


STEPS = (
    TourStep(
        text=f"A ConfigMap is created with the annotation {KEY}=gold.",
        method="POST",
        path=_CONFIGMAPS,
        body={"metadata": {"name": "settings", "annotations": {KEY: "gold"}}, "data": {"color": "blue"}},
        expected="created ConfigMap settings",
    ),
    TourStep(
        text="A Deployment is created without it: no notification ...",
        method="POST",
        path=_DEPLOYMENTS,
        body=_deployment("web"),
    ),
    TourStep(
        text=f"... until it gets the annotation, {KEY}=silver.",
        method="PATCH",
        path=f"{_DEPLOYMENTS}/web",
        body=_annotated("silver"),
        expected="created Deployment web",
    ),
    TourStep(
        text="The ConfigMap's annotation gets another value.",
        method="PATCH",
        path=f"{_CONFIGMAPS}/settings",
        body=_annotated("platinum"),
        expected="updated ConfigMap settings",
    ),
    TourStep(
        text="The ConfigMap's data change, its annotation does not: no notification.",
        method="PATCH",
        path=f"{_CONFIGMAPS}/settings",
        body={"data": {"color": "red"}},
    ),
    TourStep(
        text="The Deployment loses its annotation: for the receiver it is gone.",
        method="PATCH",
        path=f"{_DEPLOYMENTS}/web",
        body=_annotated(None),
        expected="deleted Deployment web",
    ),
    TourStep(
        text="The ConfigMap is deleted.",
        method="DELETE",
        path=f"{_CONFIGMAPS}/settings",
        expected="deleted ConfigMap settings",
    ),
)


class Tour:
    """Runs the steps."""

    def __init__(self, on: environment.Environment, cluster: remote.Remote, shown: console.Console) -> None:
        """Prepare the steps on `cluster`."""
        self._environment = on
        self._cluster = cluster
        self._console = shown
        self._received: list[str] = []

    def run(self) -> bool:
        """Run all steps. Return False if a notification is missing or differs from the expected one.

        Raises:
            errors.Stopping: a signal has arrived.
        """
        for step in STEPS:
            if not self._do(step):
                return False
        # For manual experiments. It has no annotation, so there is no notification.
        self._cluster.request("POST", _CONFIGMAPS, {"metadata": {"name": "yours"}})
        return True

    def _do(self, step: TourStep) -> bool:
        self._console.say(step.text)
        self._change(step)
        if not step.expected:
            return True
        before = len(self._received)
        try:
            testkit.until(
                lambda: self._poll() > before,
                "a notification",
                timeout=NOTIFIED_WITHIN_S,
                stopped=self._environment.asked,
            )
        except TimeoutError:
            self._console.trouble(f"No notification arrived within {NOTIFIED_WITHIN_S:.0f} s.")
            return False
        return self._as_expected(self._received[before:], step.expected)

    def _change(self, step: TourStep) -> None:
        content_type = _MERGE if step.method == "PATCH" else "application/json"
        try:
            self._cluster.request(step.method, step.path, step.body, content_type=content_type)
        except urllib.error.URLError as error:
            raise errors.TransientError(f"The embedded API server refused the change: {error}.") from error

    def _as_expected(self, came: list[str], expected: str) -> bool:
        if came == [expected]:
            return True
        self._console.trouble(f"Unexpected notification: {', '.join(came)} instead of {expected}.")
        return False

    def _poll(self) -> int:
        """Write what has arrived; return how many events have been accepted so far."""
        show(self._environment, self._console, self._note)
        return len(self._received)

    def _note(self, line: Json) -> None:
        event = line["event"]
        if event is not None and isinstance(line["answer"], int) and line["answer"] < 300:
            self._received.append(f"{event['type'].rpartition('.')[2]} {event['kind']} {event['name']}")


def show(
    on: environment.Environment, shown: console.Console, note: Callable[[Json], None] = lambda _line: None
) -> None:
    """Write all log lines and requests that have arrived since the last call."""
    while not on.log.empty():
        shown.log_line(on.log.get())
    while not on.requests.empty():
        line = on.requests.get()
        shown.request(line)
        note(line)


def by_hand(cluster: remote.Remote, shown: console.Console) -> None:
    """Write commands to try in another terminal."""
    kubectl = f"{_kubectl()} --kubeconfig {cluster.kubeconfig}"
    shown.say()
    shown.say("Try it yourself from another terminal; the notifications are shown here:")
    shown.verbatim(f"{kubectl} annotate configmap yours {KEY}=hello --overwrite")
    shown.verbatim(f"{kubectl} annotate configmap yours {KEY}-")
    shown.verbatim(f"{kubectl} delete configmap yours")
    shown.say(f"The kubeconfig is {cluster.kubeconfig}.")


def _kubectl() -> str:
    found = shutil.which("kubectl")
    installed = testkit.SCRIPTS / "kubectl"
    return "kubectl" if found or not installed.exists() else str(_near(installed))


def _near(path: Path) -> Path:
    """Return a path relative to the working directory if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def waited(since: float) -> str:
    """Return the time since an instant as text."""
    return f"{time.monotonic() - since:.1f} s"
