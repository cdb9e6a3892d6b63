"""The demo without a cluster: a few objects of two kinds, changed one step at a time, each told before the next.

What is changed and what should be told for it stand side by side in `STEPS`. This is the only part of the demo that
changes objects, and it only ever does so in the embedded API server.
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
PATIENCE_S = 20.0

_CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_MERGE = "application/merge-patch+json"
_LABELS = {"app": "web"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TourStep:
    """A change of an object, and what is told for it: change, kind and name; "" for nothing."""

    text: str
    method: str
    path: str
    body: Json | None = None
    told: str = ""


def config(endpoint_url: str) -> Json:
    """Configure Beacon for the tour."""
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
        body={"metadata": {"name": "settings", "annotations": {KEY: "gold"}}, "data": {"colour": "blue"}},
        told="created ConfigMap settings",
    ),
    TourStep(
        text="A Deployment is created without it, which is nothing to tell ...",
        method="POST",
        path=_DEPLOYMENTS,
        body=_deployment("web"),
    ),
    TourStep(
        text=f"... until it gets the annotation, {KEY}=silver.",
        method="PATCH",
        path=f"{_DEPLOYMENTS}/web",
        body=_annotated("silver"),
        told="created Deployment web",
    ),
    TourStep(
        text="The ConfigMap's annotation gets another value.",
        method="PATCH",
        path=f"{_CONFIGMAPS}/settings",
        body=_annotated("platinum"),
        told="updated ConfigMap settings",
    ),
    TourStep(
        text="The ConfigMap's data change, its annotation does not: nothing to tell.",
        method="PATCH",
        path=f"{_CONFIGMAPS}/settings",
        body={"data": {"colour": "red"}},
    ),
    TourStep(
        text="The Deployment loses its annotation: for the receiver it is gone.",
        method="PATCH",
        path=f"{_DEPLOYMENTS}/web",
        body=_annotated(None),
        told="deleted Deployment web",
    ),
    TourStep(
        text="The ConfigMap is deleted.",
        method="DELETE",
        path=f"{_CONFIGMAPS}/settings",
        told="deleted ConfigMap settings",
    ),
)


class Tour:
    """Goes through the steps on a stage."""

    def __init__(self, on: environment.Stage, cluster: remote.Remote, shown: console.Screen) -> None:
        """Change objects of `cluster`."""
        self._stage = on
        self._cluster = cluster
        self._screen = shown
        self._told: list[str] = []

    def run(self) -> bool:
        """Do all steps; False when a notification did not come, or another than expected.

        Raises:
            errors.Stopping: it was asked to stop.
        """
        for step in STEPS:
            if not self._do(step):
                return False
        # For those who try by hand. It has no annotation, so nothing is told.
        self._cluster.request("POST", _CONFIGMAPS, {"metadata": {"name": "yours"}})
        return True

    def _do(self, step: TourStep) -> bool:
        self._screen.say(step.text)
        self._change(step)
        if not step.told:
            return True
        before = len(self._told)
        try:
            testkit.until(
                lambda: self._look() > before, "a notification", timeout=PATIENCE_S, stopped=self._stage.asked
            )
        except TimeoutError:
            self._screen.trouble(f"No notification came within {PATIENCE_S:.0f} s.")
            return False
        return self._as_expected(self._told[before:], step.told)

    def _change(self, step: TourStep) -> None:
        content_type = _MERGE if step.method == "PATCH" else "application/json"
        try:
            self._cluster.request(step.method, step.path, step.body, content_type=content_type)
        except urllib.error.URLError as error:
            raise errors.TransientError(f"The embedded API server does not do it: {error}.") from error

    def _as_expected(self, came: list[str], expected: str) -> bool:
        if came == [expected]:
            return True
        self._screen.trouble(f"Another notification came than expected: {', '.join(came)} instead of {expected}.")
        return False

    def _look(self) -> int:
        """Show what has come; return how much has been accepted so far."""
        show(self._stage, self._screen, self._note)
        return len(self._told)

    def _note(self, line: Json) -> None:
        event = line["event"]
        if event is not None and isinstance(line["answer"], int) and line["answer"] < 300:
            self._told.append(f"{event['type'].rpartition('.')[2]} {event['kind']} {event['name']}")


def show(on: environment.Stage, shown: console.Screen, note: Callable[[Json], None] = lambda _line: None) -> None:
    """Show everything that has come in meanwhile."""
    while not on.log.empty():
        shown.log_line(on.log.get())
    while not on.requests.empty():
        line = on.requests.get()
        shown.request(line)
        note(line)


def by_hand(cluster: remote.Remote, shown: console.Screen) -> None:
    """Say how to try it, in another terminal."""
    kubectl = f"{_kubectl()} --kubeconfig {cluster.kubeconfig}"
    shown.say()
    shown.say("Now you. Try it from another terminal, and watch the notifications here:")
    shown.verbatim(f"{kubectl} annotate configmap yours {KEY}=hello --overwrite")
    shown.verbatim(f"{kubectl} annotate configmap yours {KEY}-")
    shown.verbatim(f"{kubectl} delete configmap yours")
    shown.say(f"The kubeconfig is {cluster.kubeconfig}.")


def _kubectl() -> str:
    found = shutil.which("kubectl")
    installed = testkit.SCRIPTS / "kubectl"
    return "kubectl" if found or not installed.exists() else str(_near(installed))


def _near(path: Path) -> Path:
    """Name a path as seen from here where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def waited(since: float) -> str:
    """Word how long something took."""
    return f"{time.monotonic() - since:.1f} s"
