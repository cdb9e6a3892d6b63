"""A checkout of Beacon and the virtual environment that runs it.

The benchmark compares the processes of another checkout with those of this one. `python -m` searches the working
directory first, so the processes of another checkout must start in that checkout: started here they would import the
code of this one. `of` verifies that they do not.
"""

import platform
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from beacon import errors

_HERE = Path(__file__).parents[2]
_ORIGIN = "import beacon, platform; print(beacon.__path__[0]); print(platform.python_version())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A checkout.

    `interpreter` is its Python executable, `python` that interpreter's version, `scripts` the directory of its
    supervisord. Its processes start in `directory`; None means the caller's working directory.
    """

    root: Path
    scripts: Path
    interpreter: Path
    python: str
    directory: Path | None = None

    @property
    def conf(self) -> Path:
        """Return the path of its supervisord.conf."""
        return self.root / "supervisord.conf"

    @property
    def supervisord(self) -> list[str]:
        """Return the command that runs supervisord in the foreground."""
        # The script's first line names the interpreter of the directory in which the environment was created.
        return [str(self.interpreter), str(self.scripts / "supervisord"), "-n", "-c", str(self.conf)]

    def revision(self) -> str:
        """Return the checked-out commit, with the suffix `-dirty` if files were changed since."""
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty", "--abbrev=10"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        except FileNotFoundError:
            return "unknown"
        return done.stdout.strip() or "unknown"


OWN = Build(
    root=_HERE,
    scripts=Path(sysconfig.get_path("scripts")),
    interpreter=Path(sys.executable),
    python=platform.python_version(),
)


def of(root: Path) -> Build:
    """Return the build of another checkout. Create its virtual environment if it has none.

    Raises:
        errors.StartError: the directory is not a checkout, or its environment can't be created or imports other code.
    """
    root = root.resolve()
    if not (root / "supervisord.conf").is_file() or not (root / "beacon").is_dir():
        raise _refused(f"{root} is not a checkout of Beacon: it must contain beacon/ and supervisord.conf")
    scripts = root / ".venv" / "bin"
    if not (scripts / "python").exists():
        _make_environment(root)
    interpreter = scripts / "python"
    found, version = _origin(root, interpreter)
    if found != root / "beacon":
        raise _refused(f"{root}/.venv imports the code of {found.parent}; remove it, then run this again")
    return Build(root=root, scripts=scripts, interpreter=interpreter, python=version, directory=root)


def _make_environment(root: Path) -> None:
    sys.stderr.write(f"{root} has no virtual environment; running `make setup` ...\n")
    command = ["make", "--no-print-directory", "-C", str(root), "setup", f"PYTHON={sys.executable}"]
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:  # noqa: S603
        raise _refused(f"`make setup` failed in {root}")


def _origin(root: Path, interpreter: Path) -> tuple[Path, str]:
    """Return the directory from which this environment imports `beacon`, and the version of its interpreter."""
    command = [str(interpreter), "-c", _ORIGIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)  # noqa: S603
    if done.returncode:
        raise _refused(f"{root}/.venv can't import Beacon: {done.stderr.strip().rpartition(chr(10))[2]}")
    found, version = done.stdout.split("\n")[:2]
    return Path(found).resolve(), version


def _refused(why: str) -> errors.StartError:
    return errors.StartError(why, exit_code=errors.EXIT_UNAVAILABLE)
