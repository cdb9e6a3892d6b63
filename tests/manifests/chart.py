"""The Helm chart as Helm renders it."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.manifests import built

PATH = built.K8S / "chart"
CI = sorted(path.name for path in (PATH / "ci").iterdir())
HELM = shutil.which("helm", path=str(Path(sys.executable).parent)) or "helm"

Json = dict[str, Any]


def helm(*words: str, values: Mapping[str, Any] | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Helm with its state in a directory of its own, and with these values."""
    with tempfile.TemporaryDirectory() as state:
        places = {f"HELM_{name}_HOME": state for name in ("CACHE", "CONFIG", "DATA")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HELM"))}
        given = [] if values is None else ["--values", "-"]
        return subprocess.run(
            [HELM, *words, *given],
            input=None if values is None else yaml.safe_dump(dict(values)),
            env=kept | places | environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def rendered(values: Mapping[str, Any], *options: str, release: str = "beacon") -> list[Json]:
    """Return the objects for these values."""
    done = helm("template", release, str(PATH), "--namespace", "beacon", *options, values=values)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "Helm prints warnings"
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def refused(values: Mapping[str, Any]) -> str:
    """Return the reason for which Helm refuses these values."""
    done = helm("template", "beacon", str(PATH), values=values)
    assert done.returncode != 0, done.stdout
    return done.stderr


@functools.cache
def of_ci(name: str) -> tuple[Json, ...]:
    """Return the objects for the values of a file in `ci`; they are shared, so do not change them."""
    return tuple(rendered(ci_values(name)))


def ci_values(name: str) -> Json:
    found: Json = yaml.safe_load((PATH / "ci" / name).read_text(encoding="utf-8"))
    return found


def one(objects: list[Json] | tuple[Json, ...], kind: str, called: str = "beacon") -> Json:
    """Return the only object of a kind with this name."""
    (found,) = (each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, called))
    return found


def config(objects: list[Json] | tuple[Json, ...]) -> str:
    """Return the text of the configuration, which is a ConfigMap or a Secret."""
    (text,) = (
        given["config.yaml"]
        for each in objects
        for given in (each.get("data", {}), each.get("stringData", {}))
        if "config.yaml" in given
    )
    assert isinstance(text, str)
    return text
