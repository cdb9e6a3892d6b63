"""The tour: changes objects of two kinds step by step, and waits for the notifications before the next step.

`FIRST` and `LAST` list each change with the expected notifications; in between an endpoint is added. At the end an
endpoint refuses its token for a moment. Only this module changes objects, and only in the embedded API server.
"""

import shutil
import time
import urllib.error
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
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

# What each endpoint selects, and the same in words. The last one is added when the others have got their first events.
_SELECTIONS: Mapping[str, tuple[Json, str]] = {
    "billing": ({}, "selects everything"),
    "rollout": ({"select": {"kinds": ["Deployment.apps"]}}, "selects Deployments"),
    "audit": ({"select": {"types": ["created", "deleted"]}}, "selects the types created and deleted"),
}
ENDPOINTS = tuple(_SELECTIONS)
ADDED = ENDPOINTS[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TourStep:
    """A change of an object, the expected notification (change, kind and name), and the endpoints that get it."""

    text: str
    method: str
    path: str
    body: Json | None = None
    expected: str = ""
    to: tuple[str, ...] = ()


def config(port: int, urls: Mapping[str, str]) -> Json:
    """Return Beacon's configuration for the tour with these endpoints."""
    return {
        "resources": [{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "apps/v1", "kind": "Deployment"}],
        "annotation": {"key": KEY},
        "events": {"updated": True},
        "endpoints": [{"name": name, "url": url, **_SELECTIONS[name][0]} for name, url in urls.items()],
        "metrics": {"port": port},
        "health": {"port": port},
    }


def _annotated(value: str | None) -> Json:
    return {"metadata": {"annotations": {KEY: value}}}


def _deployment(name: str) -> Json:
    container = {"name": "web", "image": "registry.example/web:1"}
    template = {"metadata": {"labels": _LABELS}, "spec": {"containers": [container]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": _LABELS}, "template": template}}


FIRST = (
    TourStep(
        text=f"A ConfigMap is created with the annotation {KEY}=gold.",
        method="POST",
        path=_CONFIGMAPS,
        body={"metadata": {"name": "settings", "annotations": {KEY: "gold"}}, "data": {"color": "blue"}},
        expected="created ConfigMap settings",
        to=("billing",),
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
        to=("billing", "rollout"),
    ),
    TourStep(
        text="The ConfigMap's annotation gets another value.",
        method="PATCH",
        path=f"{_CONFIGMAPS}/settings",
        body=_annotated("platinum"),
        expected="updated ConfigMap settings",
        to=("billing",),
    ),
)

# What the added endpoint gets of the objects that exist by then.
CAUGHT_UP = ((ADDED, "created ConfigMap settings"), (ADDED, "created Deployment web"))

LAST = (
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
        to=("billing", "rollout", "audit"),
    ),
    TourStep(
        text="The ConfigMap is deleted.",
        method="DELETE",
        path=f"{_CONFIGMAPS}/settings",
        expected="deleted ConfigMap settings",
        to=("billing", "audit"),
    ),
)

# What is changed while one endpoint refuses its token; it gets all of it when it accepts the token again.
REFUSING = ENDPOINTS[0]
_NAMES = ("first", "second", "third")  # three objects: fewer do not park an endpoint
MEANWHILE = tuple(
    TourStep(
        text=f"The ConfigMap {name} is created.",
        method="POST",
        path=_CONFIGMAPS,
        body={"metadata": {"name": name, "annotations": {KEY: "bronze"}}},
        expected=f"created ConfigMap {name}",
        to=(ADDED,),
    )
    for name in _NAMES
)
RESTORED = tuple((REFUSING, f"created ConfigMap {name}") for name in _NAMES)


class Tour:
    """Runs the steps."""

    def __init__(self, on: environment.Environment, cluster: remote.Remote, shown: console.Console) -> None:
        """Prepare the steps on `cluster`."""
        self._environment = on
        self._cluster = cluster
        self._console = shown
        self._received: list[tuple[str, str]] = []  # endpoint, notification
        self._checked = 0
        self._parked: set[str] = set()  # endpoints

    def run(self, steps: tuple[TourStep, ...]) -> bool:
        """Run steps. Return False if a notification is missing or differs from the expected one.

        Raises:
            errors.Stopping: a signal has arrived.
        """
        return all(self._do(step) for step in steps)

    def expect(self, expected: tuple[tuple[str, str], ...]) -> bool:
        """Wait for these notifications. Return False if one is missing or another has arrived.

        Raises:
            errors.Stopping: a signal has arrived.
        """
        try:
            testkit.until(
                lambda: self.poll() >= len(expected),
                "the notifications",
                timeout=NOTIFIED_WITHIN_S,
                stopped=self._environment.asked,
            )
        except TimeoutError:
            missing = _listed(sorted({*expected} - {*self._received[self._checked :]}))
            self._console.trouble(f"Missing after {NOTIFIED_WITHIN_S:.0f} s: {missing}.")
            return False
        new = self._received[self._checked :]
        self._checked = len(self._received)
        if sorted(new) == sorted(expected):
            return True
        self._console.trouble(f"Unexpected notifications: {_listed(new)} instead of {_listed(expected)}.")
        return False

    def poll(self) -> int:
        """Write what has arrived; return how many accepted events have not been checked."""
        show(self._environment, self._console, self._note, self._hear)
        return len(self._received) - self._checked

    def refuse_a_token(self, url: str) -> bool:
        """Run the parking of an endpoint, which refuses its token for a moment.

        Return False if it is not parked, or does not get everything in the end.

        Raises:
            errors.Stopping: a signal has arrived.
        """
        self._console.say(f"The endpoint {REFUSING} refuses its token from now on, with 401 for every event.")
        environment.set_endpoint(url, mode="failure", status=401)
        if not self.run(MEANWHILE):
            return False
        try:
            testkit.until(self._is_parked, "the parking", timeout=NOTIFIED_WITHIN_S, stopped=self._environment.asked)
        except TimeoutError:
            self._console.trouble(f"The endpoint {REFUSING} is not parked after {NOTIFIED_WITHIN_S:.0f} s.")
            return False
        self._console.say(f"The endpoint {REFUSING} accepts its token again.")
        environment.set_endpoint(url, mode="success")
        if not self.expect(RESTORED):
            return False
        self._console.say(f"Nothing was lost: {REFUSING} has got each of the {len(RESTORED)} events, once.")
        return True

    def _is_parked(self) -> bool:
        self.poll()
        return REFUSING in self._parked

    def end(self) -> None:
        """Write what each endpoint has got, and create an object for manual experiments."""
        got: defaultdict[str, list[str]] = defaultdict(list)
        for name, notification in self._received:
            got[name].append(notification)
        self._console.say()
        for name, (_, selection) in _SELECTIONS.items():
            later = ", was added later" if name == ADDED else ""
            self._console.say(f"{name} {selection}{later}, and got {len(got[name])}: {', '.join(got[name])}.")
        # It has no annotation, so there is no notification.
        self._cluster.request("POST", _CONFIGMAPS, {"metadata": {"name": "yours"}})

    def _do(self, step: TourStep) -> bool:
        self._console.say(step.text)
        self._change(step)
        return not step.expected or self.expect(tuple((name, step.expected) for name in step.to))

    def _change(self, step: TourStep) -> None:
        content_type = _MERGE if step.method == "PATCH" else "application/json"
        try:
            self._cluster.request(step.method, step.path, step.body, content_type=content_type)
        except urllib.error.URLError as error:
            raise errors.TransientError(f"The embedded API server refused the change: {error}.") from error

    def _note(self, name: str, line: Json) -> None:
        event = line["event"]
        if event is not None and isinstance(line["answer"], int) and line["answer"] < 300:
            self._received.append((name, f"{event['type'].rpartition('.')[2]} {event['kind']} {event['name']}"))

    def _hear(self, line: Json) -> None:
        if line.get("event") == "endpoint parked":
            self._parked.add(str(line.get("endpoint")))


def _listed(notifications: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{what} to {name}" for name, what in notifications)


def show(
    on: environment.Environment,
    shown: console.Console,
    note: Callable[[str, Json], None] = lambda _name, _line: None,
    hear: Callable[[Json], None] = lambda _line: None,
) -> None:
    """Write all log lines and requests that have arrived since the last call; `hear` and `note` get them, too."""
    while not on.log.empty():
        line = on.log.get()
        shown.log_line(line)
        hear(line)
    while not on.requests.empty():
        name, line = on.requests.get()
        shown.request(name, line)
        note(name, line)


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
