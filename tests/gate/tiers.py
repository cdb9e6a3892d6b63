"""Reads tiers.toml: what the gate runs, and which real components its tests need.

`python3 tests/gate/tiers.py packages` prints the Debian packages of the components that this machine lacks. That runs
before there is a virtual environment, so this module has nothing but the standard library.
"""

import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("tiers.toml")
IN_CI = "CI"  # the variable that says that what is missing is an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A part of the gate."""

    name: str
    purpose: str
    paths: tuple[str, ...]
    workers: float
    interpreters: str
    dist: str = "load"
    marks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """Something real that tests need beside this checkout and its libraries."""

    name: str
    purpose: str
    probe: tuple[str, ...]
    debian: tuple[str, ...] = ()
    pypi: str = ""
    npm: str = ""
    machines: tuple[str, ...] = ()
    root: bool = False

    @property
    def source(self) -> str:
        """Return where it comes from, as a sentence has it."""
        if self.debian:
            return f"Debian: {' '.join(self.debian)}"
        return f"PyPI: {self.pypi}" if self.pypi else f"npm: {self.npm}"

    def missing(self) -> list[str]:
        """Return what of it is not on this machine."""
        return [one for one in self.probe if not found(one)]

    def unavailable(self) -> str:
        """Return why this machine can't have it at all; "" if it can."""
        if self.machines and platform.machine() not in self.machines:
            return f"there is none for {platform.machine()}"
        return "only root can use it" if self.root and os.geteuid() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why a test can't run; `wrong` says that it must, and fails."""

    why: str
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of tiers.toml; `order` is what `make test` runs."""

    order: tuple[str, ...]
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    components: Mapping[str, Component] = field(default_factory=dict)

    def absent(self, name: str, *, environ: Mapping[str, str]) -> Absence | None:
        """Return why a component can't be used here, None if it can."""
        component = self.components[name]
        if why := component.unavailable():
            return Absence(why=f"{name} is needed: {why}", wrong=False)
        if missing := component.missing():
            why = f"{name} is needed, and {', '.join(missing)} is not installed ({component.source})"
            return Absence(why=why, wrong=environ.get(IN_CI, "") == "true")
        return None

    def packages(self) -> list[str]:
        """Return the Debian packages of all components that this machine lacks and can have."""
        lacking = [one for one in self.components.values() if not one.unavailable() and one.missing()]
        return sorted({package for one in lacking for package in one.debian})


def read(path: Path = FILE) -> Plan:
    """Read the file."""
    plain = tomllib.loads(path.read_text(encoding="utf-8"))
    return Plan(
        order=tuple(plain["gate"]["tiers"]),
        tiers={name: Tier(name=name, **_tuples(values)) for name, values in plain["tiers"].items()},
        components={name: Component(name=name, **_tuples(values)) for name, values in plain["components"].items()},
    )


def found(probe: str) -> bool:
    """Return whether a program is on the PATH or in the environment, or a file fits the pattern."""
    if probe.startswith("/"):
        return any(Path("/").glob(probe.lstrip("/")))
    return program(probe) is not None


def program(name: str) -> str | None:
    """Return the path of a program: of the environment, the PATH, or where root's programs are."""
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")
    return shutil.which(name, path=os.pathsep.join(places))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


if __name__ == "__main__":
    if sys.argv[1:] != ["packages"]:
        sys.exit("usage: tiers.py packages")
    sys.stdout.write(" ".join(read().packages()))
