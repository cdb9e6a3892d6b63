"""Parser of tiers.toml: the tiers of the gate, and the components that their tests need.

`python3 tests/gate/tiers.py packages` prints the Debian packages of the components that this machine lacks. It runs
before the virtual environment exists, so this module must import the standard library only.
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
IN_CI = "CI"  # with "true" in this variable, a missing component is an error


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
    """A program that tests need in addition to this checkout and its libraries."""

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
        """Return the package that provides it, for messages."""
        if self.debian:
            return f"Debian: {' '.join(self.debian)}"
        return f"PyPI: {self.pypi}" if self.pypi else f"npm: {self.npm}"

    def missing(self) -> list[str]:
        """Return its parts that are not installed on this machine."""
        return [one for one in self.probe if not found(one)]

    def unavailable(self) -> str:
        """Return why it can't be installed on this machine; "" if it can."""
        if self.machines and platform.machine() not in self.machines:
            return f"there is none for {platform.machine()}"
        return "only root can use it" if self.root and os.geteuid() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Why a test can't run; with `wrong` it must fail instead of being skipped."""

    why: str
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The content of tiers.toml; `order` and `beside` are the tiers of `make test`."""

    order: tuple[str, ...]
    beside: tuple[str, ...] = ()
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    components: Mapping[str, Component] = field(default_factory=dict)

    def absent(self, name: str, *, environ: Mapping[str, str]) -> Absence | None:
        """Return why a component is not available; None if it is."""
        component = self.components[name]
        if why := component.unavailable():
            return Absence(why=f"{name} is needed: {why}", wrong=False)
        if missing := component.missing():
            why = f"{name} is needed, and {', '.join(missing)} is not installed ({component.source})"
            return Absence(why=why, wrong=environ.get(IN_CI, "") == "true")
        return None

    def packages(self) -> list[str]:
        """Return the Debian packages of all missing components that can be installed on this machine."""
        lacking = [one for one in self.components.values() if not one.unavailable() and one.missing()]
        return sorted({package for one in lacking for package in one.debian})


def read(path: Path = FILE) -> Plan:
    """Return the parsed file."""
    plain = tomllib.loads(path.read_text(encoding="utf-8"))
    return Plan(
        order=tuple(plain["gate"]["tiers"]),
        beside=tuple(plain["gate"]["beside"]),
        tiers={name: Tier(name=name, **_tuples(values)) for name, values in plain["tiers"].items()},
        components={name: Component(name=name, **_tuples(values)) for name, values in plain["components"].items()},
    )


def found(probe: str) -> bool:
    """Return True if a program is on the PATH or in the environment, or if a file matches the pattern."""
    if probe.startswith("/"):
        return any(Path("/").glob(probe.lstrip("/")))
    return program(probe) is not None


def program(name: str) -> str | None:
    """Return the path of a program in the environment, on the PATH, or in /usr/sbin or /sbin."""
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")
    return shutil.which(name, path=os.pathsep.join(places))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


if __name__ == "__main__":
    if sys.argv[1:] != ["packages"]:
        sys.exit("usage: tiers.py packages")
    sys.stdout.write(" ".join(read().packages()))
