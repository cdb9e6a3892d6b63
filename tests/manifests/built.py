"""The manifests as built by kustomize, and accessors of their parts."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
BASE = "base"
# Those that contain a Beacon.
OURS = (BASE, "overlays/backups", "overlays/openshift", "overlays/test-endpoint", "overlays/example")
KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"

Json = dict[str, Any]


def every_kustomization() -> list[str]:
    """Return every directory below k8s that kustomize can build."""
    return sorted(str(path.parent.relative_to(K8S)) for path in K8S.rglob("kustomization.yaml"))


def text(directory: Path) -> str:
    """Return the output of kustomize for a directory."""
    done = subprocess.run([KUBECTL, "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize prints deprecation warnings"
    return done.stdout


def relative(start: Path, found: Path) -> str:
    """Return a relative path of a directory, as kustomize requires."""
    return os.path.relpath(found.resolve(), start.resolve())


@functools.cache
def objects(name: str) -> tuple[Json, ...]:
    """Return the objects of a directory below k8s; they are shared, so do not change them."""
    return tuple(yaml.safe_load_all(text(K8S / name)))


def one(name: str, kind: str, called: str = "beacon") -> Json:
    """Return the only object of a kind with this name; a digest suffix is ignored."""
    found = [each for each in of_kind(name, kind) if _plain_name(each) == called]
    assert len(found) == 1, f"{len(found)} {kind} {called} in {name}"
    return found[0]


def of_kind(name: str, kind: str) -> list[Json]:
    return [each for each in objects(name) if each["kind"] == kind]


def pod(name: str, called: str = "beacon") -> Json:
    """Return the pod spec of a Deployment."""
    spec: Json = one(name, "Deployment", called)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Json:
    """Return Beacon's container."""
    only: Json
    (only,) = pod(name)["containers"]
    return only


def config(name: str) -> str:
    """Return the text of the configuration."""
    content: str = one(name, "ConfigMap")["data"]["config.yaml"]
    return content


def environ(name: str) -> dict[str, str]:
    """Return the environment variables of the manifest."""
    return {each["name"]: each["value"] for each in container(name)["env"]}


def mounts(name: str) -> dict[str, Json]:
    """Return the volumes by mount path."""
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container(name)["volumeMounts"]}


def mebibytes(quantity: str) -> int:
    assert quantity.endswith("Mi"), quantity
    return int(quantity.removesuffix("Mi"))


def _plain_name(each: Json) -> str:
    name = str(each["metadata"]["name"])
    return name.rpartition("-")[0] if each["kind"] == "ConfigMap" else name
