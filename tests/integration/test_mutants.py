"""Builds that break a promise must fail the suite: each mutant is a copy of Beacon with one line made wrong.

A test that passes against a broken build proves nothing; here the tests themselves are put to the test.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One wrong line, and the tests that must notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


MUTANTS = (
    Mutant(
        "commits are not synced",
        "store/ledger/opening.py",
        'connection.pragma("synchronous", "FULL")',
        'connection.pragma("synchronous", "OFF")',
        "tests/unit/store/test_power_cut.py",
    ),
    Mutant(
        "commits are synced at checkpoints only",
        "store/ledger/opening.py",
        'connection.pragma("synchronous", "FULL")',
        'connection.pragma("synchronous", "NORMAL")',
        "tests/unit/store/test_power_cut.py",
    ),
    Mutant(
        "the reply comes before the commit",
        "store/server/service.py",
        "            self._ledger.commit()\n        except errors.BeaconError:\n            self._state",
        "            pass\n        except errors.BeaconError:\n            self._state",
        "tests/unit/store/test_power_cut.py",
    ),
    Mutant(
        "the cursor jumps over what has not been applied",
        "store/verbs/streams.py",
        "if request.position > cursor.version and request.prev != cursor.version:",
        "if request.position > cursor.version and request.prev < cursor.version:",
        "tests/unit/store/test_positions.py",
    ),
    Mutant(
        "late requests of an earlier session are applied",
        "store/verbs/watch_positions.py",
        "session.number == number and epoch == current",
        "epoch == current",
        "tests/unit/store/test_positions.py",
    ),
    Mutant(
        "a list emits deletions of objects that it contains",
        "store/verbs/journal.py",
        "if packing.unpacked(row[0]) not in listed:",
        "if row[0]:",
        "tests/unit/store/test_positions.py",
    ),
    Mutant(
        "an object's next event does not wait for the one before",
        "store/ledger/views.py",
        "if view.ready or view.open > 1:",
        "if view.open > model.MAX_INTEGER:",
        "tests/unit/store/test_claims.py",
    ),
    Mutant(
        "a repeated settlement is applied again",
        "store/verbs/settlements.py",
        "elif outcome.attempt > requests and state not in _FINAL:",
        "elif state not in ():",
        "tests/unit/store/test_claims.py",
    ),
    Mutant(
        "deliveries of a lost reply are leased again",
        "store/verbs/deliveries.py",
        "if number > seen}",
        "if number > claim.number}",
        "tests/unit/store/test_claims.py",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_build_that_breaks_a_promise_fails_the_suite(mutant: Mutant, tmp_path: Path) -> None:
    for part in ("beacon", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / "beacon" / mutant.file
    text = source.read_text()
    assert text.count(mutant.right) == 1, "the line that this mutant makes wrong has changed"
    source.write_text(text.replace(mutant.right, mutant.wrong))

    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=mutants",
            mutant.tests,
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1, run.stdout
    assert "failed" in run.stdout
