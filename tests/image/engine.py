"""podman and buildah with settings and storage of their own, so that nothing else on the machine is touched.

No registry is needed: the base image is made of Debian's packages, whose Python of trixie is the 3.13 of the
Containerfile's own base. It is kept in `.run` within the checkout; everything else is gone when the context ends.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.manifests import built

_BASE = "localhost/base"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_TARBALL = built.ROOT / ".run" / "image-base-trixie.tar"
_MIRROR = "http://deb.debian.org/debian"
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "{place}/tmp"
"""
_STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{place}/graph"
runroot = "{place}/run"
"""


class ImpossibleError(Exception):
    """The machine can't run the tests; the message is the reason."""


class Engine:
    """Runs podman and buildah; `clear` removes everything that was created."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "containers.conf").write_text(_CONTAINERS_CONF.format(place=place))
        (place / "storage.conf").write_text(_STORAGE_CONF.format(place=place))
        self._environ = {
            **os.environ,
            "CONTAINERS_CONF": str(place / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
        }

    def podman(self, *words: str) -> str:
        """Run podman and return its standard output."""
        return self._run("podman", *words, timeout=120).stdout

    def logs(self, container: str) -> str:
        """Return the complete log of a container."""
        done = self._run("podman", "logs", container, timeout=120)
        return done.stdout + done.stderr

    def build(self, name: str, *, target: str = "beacon") -> None:
        """Build one of the Containerfile's images."""
        arguments = {"BASE_IMAGE": _BASE, "REVISION": "tested"}
        if index := os.environ.get("PIP_INDEX_URL"):
            arguments["PIP_INDEX_URL"] = index
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        isolation = ("--isolation=chroot", "--network=host", "--quiet")
        where = ("--target", target, "-t", name, "-f", "Containerfile", str(built.ROOT))
        self._run("buildah", "bud", *isolation, *given, *where, timeout=400)

    def import_base(self) -> None:
        """Create a base image in place of the public one.

        Raises:
            ImpossibleError: this machine can't make it or run it, which is not Beacon's doing.
        """
        if not _TARBALL.exists():
            _bootstrap(_TARBALL)
        done = self._try("podman", "import", str(_TARBALL), _BASE, timeout=120)
        if reason := done.stderr.strip()[-300:] if done.returncode else self._unable():
            raise ImpossibleError(f"no container can be run here: {reason}")

    def clear_containers(self) -> None:
        """Remove the created containers, pods and volumes, by their ids."""
        for kind, listing in ("pod", "ps"), ("container", "ls"), ("volume", "ls"):
            every = ["--all"] if kind == "container" else []
            if found := self.podman(kind, listing, "--quiet", *every).split():
                now = [] if kind == "volume" else ["--time", "0"]
                self.podman(kind, "rm", "--force", *now, *found)

    def clear(self) -> None:
        """Remove everything that was created."""
        self.clear_containers()
        if found := self.podman("images", "--all", "--quiet").split():
            self.podman("image", "rm", "--force", *dict.fromkeys(found))
        # The overlay driver leaves a bind mount of its directory.
        subprocess.run(["umount", str(self.place / "graph" / "overlay")], check=False, capture_output=True)

    def _unable(self) -> str:
        """Try to reach the package index from a container, like the build; return the error, "" for success."""
        index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
        look = f"import urllib.request; urllib.request.urlopen({index.rstrip('/') + '/pip/'!r}, timeout=60)"
        words = ("podman", "run", "--rm", "--network", "host", _BASE, "python3", "-c", look)
        done = self._try(*words, timeout=120)
        return done.stderr.strip()[-300:] if done.returncode else ""

    def _try(self, *command: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=self._environ, cwd=self.place, capture_output=True, text=True, check=False, timeout=timeout
        )

    def _run(self, *command: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        done = self._try(*command, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@contextlib.contextmanager
def running() -> Iterator[Engine]:
    """Yield an engine, and remove everything that was created with it."""
    place = Path(tempfile.mkdtemp(prefix="b"))
    engine = Engine(place)
    try:
        yield engine
    finally:
        engine.clear()
        shutil.rmtree(place)


def _bootstrap(tarball: Path) -> None:
    """Write a minimal Debian with Python and this machine's CA certificates to a tar file."""
    tarball.parent.mkdir(exist_ok=True)
    made = tarball.with_suffix(".part.tar")
    include = "--include=python3,python3-venv,ca-certificates,libstdc++6"
    trust = [f"--customize-hook=copy-in {_AUTHORITIES} {_AUTHORITIES.parent}"] if _AUTHORITIES.exists() else []
    command = ["mmdebstrap", "--variant=essential", include, *trust, "trixie", str(made), _MIRROR]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    if done.returncode != 0:
        raise ImpossibleError(f"no base image can be made here: {done.stderr.strip()[-300:]}")
    made.rename(tarball)
