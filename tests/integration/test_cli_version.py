"""`beacon version` as a person runs it."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

import beacon
from beacon import errors
from beacon.cli.commands import version

ROOT = Path(__file__).parents[2]


def run(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beacon.cli", "version", *options]
    return subprocess.run(
        command, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )


def test_the_versions_are_those_that_run() -> None:
    done = run("-o", "json", BEACON_REVISION="0123abc")

    assert done.returncode == errors.EXIT_OK, done.stderr
    assert json.loads(done.stdout) == {
        "version": beacon.VERSION,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "schema": len(list((ROOT / "beacon/store/ledger/schema").glob("*.sql"))),
        "commit": "0123abc",
    }
    assert "commit   0123abc\n" in run(BEACON_REVISION="0123abc").stdout


@pytest.mark.parametrize(("revision", "commit"), [("unknown", ""), ("5f3c", "5f3c")])
def test_the_commit_of_an_image_is_its_build_argument(tmp_path: Path, revision: str, commit: str) -> None:
    assert version.commit({"BEACON_REVISION": revision}, tmp_path) == commit


def test_the_commit_of_a_checkout_is_that_of_its_repository(tmp_path: Path) -> None:
    assert version.commit({}, tmp_path) == ""

    identity = ("-c", "user.name=n", "-c", "user.email=e@example.com")
    for words in (("init", "--quiet"), (*identity, "commit", "--quiet", "--allow-empty", "--message", "m")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)

    assert len(version.commit({}, tmp_path)) == 40
