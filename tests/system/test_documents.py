"""The commands in the pages work: every shell block runs beside a real Beacon, unless it states a requirement.

A few commands are replaced so that they refer to this Beacon: `kubectl -n beacon exec deploy/beacon --` runs the
command here, `kubectl -n beacon logs` prints its log, `curl localhost:8080` connects to its port. `make` only prints
its commands. A block that needs more has `<!-- needs a cluster -->`, or another requirement, on the line before it.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beacon import codec
from beacon.dev import testkit
from tests.system import documents, running

BLOCKS = [block for page in documents.PAGES for block in documents.blocks(page)]
LOCKS = (path.name for path in documents.ROOT.glob("*.lock"))
SHARED = ("Makefile", "supervisord.conf", "docs", "pyproject.toml", *LOCKS)
COPIED = ("grafana", "k8s")  # commands of a page copy them
KUBECTL_HERE = Path(sys.executable).parent / "kubectl"
MAKE = '#!/bin/sh\nexec {make} -n "$@"\n'
SUPERVISORCTL = '#!/bin/sh\nexec {python} -m supervisor.supervisorctl -c {conf} "$@"\n'
KUBECTL = """#!/bin/sh
case "$1 $2 $3 $4 $5" in
"-n beacon exec deploy/beacon --") shift 5; exec "$@" ;;
"-n beacon logs deploy/beacon "*) exec cat {log} ;;
"-n beacon port-forward deploy/beacon 8080") exit 0 ;;
"kustomize "*) exec {kubectl} "$@" ;;
esac
echo "no such cluster: mark the block as one that needs a cluster" >&2
exit 1
"""
CURL = """#!{python}
import sys, urllib.error, urllib.request
(url,) = [word for word in sys.argv[1:] if not word.startswith("-")]
url = url if "//" in url else f"http://{{url}}"
assert "localhost:8080" in url, url
try:
    reply = urllib.request.urlopen(url.replace("localhost:8080", "{address}"), timeout=10)
except urllib.error.HTTPError as error:
    reply = error
print(reply.read().decode())
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the directory and the environment of a reader of the pages, with a running Beacon."""
    place = tmp_path_factory.mktemp("reader")
    for name in SHARED:
        (place / name).symlink_to(documents.ROOT / name)
    for name in COPIED:
        shutil.copytree(documents.ROOT / name, place / name)
    with running.everything() as whole:
        beacon = whole.beacon
        shutil.copy(beacon.config_path, place / "beacon.yaml")
        log = place / "log"
        log.write_bytes(b"\n".join(codec.encode(line) for line in list(beacon.lines)) + b"\n")
        address = beacon.metrics_url.removeprefix("http://").partition("/")[0]
        values = {
            "python": sys.executable,
            "conf": testkit.CONF,
            "log": log,
            "address": address,
            "kubectl": KUBECTL_HERE,
        }
        shims = place / "bin"
        shims.mkdir()
        for name, text in (("make", MAKE), ("supervisorctl", SUPERVISORCTL), ("kubectl", KUBECTL), ("curl", CURL)):
            shim = shims / name
            shim.write_text(text.format(make=shutil.which("make"), **values))
            shim.chmod(0o755)
        yield place, beacon.environ | {"PATH": f"{shims}:{beacon.environ['PATH']}", "HOME": str(place)}


def run(block: documents.Block, reader: tuple[Path, dict[str, str]]) -> subprocess.CompletedProcess[str]:
    place, environ = reader
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    return subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.marked], ids=str)
def test_the_commands_of_a_page_work(block: documents.Block, reader: tuple[Path, dict[str, str]]) -> None:
    done = run(block, reader)

    assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"


def test_a_block_that_fails_is_detected(reader: tuple[Path, dict[str, str]]) -> None:
    wrong = (
        "beacon no-such-command",
        "kubectl get pods",
        "make no-such-target",
        "curl -s localhost:8080/ready | grep ?",
    )
    for text in wrong:
        assert run(documents.Block(documents.ROOT / "README.md", 1, text, marked=False), reader).returncode != 0, text


def test_the_operators_pages_contain_commands_to_run() -> None:
    runnable = {block.page.name for block in BLOCKS if not block.marked}

    assert {"README.md", "contributing.md", "troubleshooting.md", "monitoring.md"} <= runnable
