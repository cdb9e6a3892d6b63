"""Run the tests of this directory on every installed supported interpreter: `python -m tests.interpreters`.

Each interpreter gets a virtual environment with the runtime lock and pytest, which is kept until a lock changes. A path
file makes this checkout importable in it, as an editable installation does: supervisord itself imports a module of
Beacon, and its script does not look in the working directory. All run concurrently. The exit code is 0 unless a test
failed or no interpreter was found.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13")
_ROOT = Path(__file__).parents[2]
_WHERE = _ROOT / ".interpreters"
_NEEDED = ("iniconfig", "packaging", "pluggy", "pygments", "pytest")  # by pytest, on the versions above


def main(words: Sequence[str]) -> int:
    """Create missing environments, run the tests, and print the result for each interpreter."""
    parser = argparse.ArgumentParser(prog="python -m tests.interpreters")
    parser.add_argument("--reports", type=Path, help="directory for a JUnit report of each interpreter")
    reports = parser.parse_args(words).reports
    found = {version: path for version in SUPPORTED if (path := find(version))}
    _WHERE.mkdir(exist_ok=True)
    requirements = _WHERE / "requirements.lock"
    requirements.write_text(lock())
    started = {version: _start(version, path, requirements, reports) for version, path in found.items()}
    failed = []
    for version, run in started.items():
        output, _ = run.communicate()
        sys.stdout.write(f"--- Python {version} ({found[version]})\n{output}")
        if run.returncode:
            failed.append(version)
    missing = [version for version in SUPPORTED if version not in found]
    sys.stdout.write(f"Passed on {', '.join(sorted(found.keys() - set(failed))) or 'none'}")
    sys.stdout.write(f"; failed on {', '.join(failed)}" if failed else "")
    sys.stdout.write(f"; not run, because not installed: {', '.join(missing)}.\n" if missing else ".\n")
    return 1 if failed or not found else 0


def find(version: str) -> str | None:
    """Return a working interpreter of a version, or None; pyenv leaves shims on the PATH that do not work."""
    for candidate in _candidates(version):
        asked = [candidate, "-c", "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60, cwd="/")
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def _candidates(version: str) -> Iterator[str]:
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield sys.executable
    for directory in os.get_exec_path():
        if path := shutil.which(f"python{version}", path=directory):
            yield path
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(map(str, versions.glob(f"{version}*/bin/python{version}")))


def lock() -> str:
    """Return the runtime lock plus pytest and its dependencies from the development lock, with hashes."""
    runtime = (_ROOT / "requirements.lock").read_text()
    development = _entries((_ROOT / "requirements-dev.lock").read_text())
    missing = [name for name in _NEEDED if name not in _entries(runtime)]
    return runtime + "".join(development[name] for name in missing)


def _entries(text: str) -> dict[str, str]:
    """Return the entries of a lock by package; a line without indentation begins an entry."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if begins := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = begins[1].lower()
        if name:
            found[name] = found.get(name, "") + line
    return found


def _start(version: str, path: str, requirements: Path, reports: Path | None) -> "subprocess.Popen[str]":
    name = hashlib.sha256(requirements.read_bytes() + path.encode()).hexdigest()[:12]
    made = _WHERE / f"{version}-{name}"
    for old in _WHERE.glob(f"{version}-*"):
        if old != made:
            shutil.rmtree(old)
    python = made / "bin" / "python"
    report = f"--junit-xml='{reports / f'interpreters-{version}.xml'}'" if reports else ""
    script = f"""
        set -e
        if [ ! -e '{made}/.ready' ]; then
            '{path}' -m venv --clear '{made}'
            '{python}' -m pip install --quiet --disable-pip-version-check --require-hashes -r '{requirements}' \\
                >'{made}/pip.log' 2>&1 || {{ cat '{made}/pip.log'; exit 1; }}
            touch '{made}/.ready'
        fi
        echo '{_ROOT}' >"$('{python}' -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beacon.pth"
        exec timeout 600 '{python}' -m pytest -q -c tests/interpreters/pytest.ini --rootdir . -p no:cacheprovider \\
            --confcutdir tests/interpreters {report} tests/interpreters
    """
    return subprocess.Popen(
        ["sh", "-c", script], cwd=_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
