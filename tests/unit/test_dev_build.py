"""What is measured beside this checkout runs the code of its own folder, or is refused in a sentence."""

import sys
from pathlib import Path

import pytest

from beacon import errors
from beacon.dev import build

PYTHON = f"#!/bin/sh\nexec {sys.executable} "


def checkout(root: Path, *, python: str) -> Path:
    """Make a folder that looks like a checkout, with this interpreter."""
    scripts = root / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (root / "supervisord.conf").touch()
    (root / "beacon").mkdir()
    (root / "beacon" / "__init__.py").touch()
    (scripts / "python").write_text(python)
    (scripts / "python").chmod(0o755)
    return root


def test_a_checkout_with_an_environment_is_taken_as_it_is(tmp_path: Path) -> None:
    found = build.of(checkout(tmp_path, python=f'{PYTHON}"$@"\n'))

    assert (found.root, found.directory, found.python) == (tmp_path, tmp_path, build.OWN.python)
    assert found.supervisord[0] == str(tmp_path / ".venv/bin/python")
    assert found.revision() == "unknown"


def test_an_environment_that_runs_the_code_of_another_checkout_is_refused(tmp_path: Path) -> None:
    root = checkout(tmp_path / "that", python=PYTHON.replace("exec", f"cd {build.OWN.root}; exec") + '"$@"\n')

    with pytest.raises(errors.StartError, match=f"imports the code of {build.OWN.root}"):
        build.of(root)


def test_an_environment_that_lacks_a_library_is_refused(tmp_path: Path) -> None:
    root = checkout(tmp_path / "that", python="#!/bin/sh\necho 'ModuleNotFoundError: No module named x' >&2\nexit 1\n")

    with pytest.raises(errors.StartError, match="can't import Beacon: ModuleNotFoundError: No module named x"):
        build.of(root)


@pytest.mark.parametrize("lacks", ["beacon", "supervisord.conf"])
def test_a_folder_that_is_no_checkout_is_refused(lacks: str, tmp_path: Path) -> None:
    root = checkout(tmp_path / "that", python="")
    (root / lacks).rename(tmp_path / "elsewhere")

    with pytest.raises(errors.StartError, match="is not a checkout of Beacon"):
        build.of(root)


def test_an_environment_is_created_by_the_checkout_itself(tmp_path: Path) -> None:
    root = checkout(tmp_path / "that", python=f'{PYTHON}"$@"\n')
    (root / ".venv").rename(root / "made")
    (root / "Makefile").write_text("setup:\n\tmv made .venv\n")

    assert build.of(root).root == root


def test_an_environment_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    root = checkout(tmp_path / "that", python="")
    (root / ".venv").rename(root / "made")
    (root / "Makefile").write_text("setup:\n\texit 1\n")

    with pytest.raises(errors.StartError, match="`make setup` failed"):
        build.of(root)
