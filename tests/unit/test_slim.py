"""Modules that are known and not run: they cost nothing, and are what they always were as soon as they are asked."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.unit import scripts

PACKAGE = {
    "__init__.py": "print('ran'); __version__ = '1'; from sample.part import name; from . import other; made = 'in it'",
    "part.py": "name = 'in the part'",
    "other.py": "",
}


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    (tmp_path / "sample").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "sample" / name).write_text(text)
    return Run(tmp_path)


class Run:
    """Runs code that can import the package `sample`, and gives what it printed."""

    def __init__(self, directory: Path) -> None:
        self._head = f"import sys\nsys.path.insert(0, {str(directory)!r})\nfrom beacon import slim\n"

    def __call__(self, code: str) -> list[str]:
        done = scripts.run(self._head + textwrap.dedent(code))
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    "use",
    [
        "import sample.part as part",
        "from sample import part",
        "from sample.part import name; import sample.part as part",
    ],
)
def test_a_part_is_imported_without_its_package_being_run(run: Run, use: str) -> None:
    assert run(f"slim.unrun('sample')\n{use}\nprint(part.name, slim.unrun_modules())") == [
        "in the part frozenset({'sample'})"
    ]


@pytest.mark.parametrize("use", ["sample.made", "__import__('sample.part').made", "vars(sample) and sample.made"])
def test_a_package_runs_once_when_something_of_its_own_is_asked_for(run: Run, use: str) -> None:
    code = f"slim.unrun('sample')\nimport sample\nprint('before')\nprint({use}, sample.name, sample.part.name)"

    assert run(code) == ["before", "ran", "in it in the part in the part"]
    assert run(code + "\nprint(type(sample).__name__, slim.unrun_modules())")[-1] == "module frozenset()"


def test_a_package_says_its_version(run: Run) -> None:
    assert run("slim.unrun('sample')\nfrom sample import __version__\nprint(__version__)") == ["ran", "1"]


def test_who_looks_through_all_modules_runs_none(run: Run) -> None:
    code = """
    import inspect, warnings
    slim.unrun("sample")
    inspect.getmodule(inspect.currentframe())
    [getattr(module, "__warningregistry__", None) for module in list(sys.modules.values())]
    print(slim.unrun_modules())
    """

    assert run(code) == ["frozenset({'sample'})"]


def test_what_is_missing_is_missing_as_ever(run: Run) -> None:
    code = "slim.unrun('sample')\nimport sample\nprint(hasattr(sample, 'nothing'), hasattr(sample, '__nothing__'))"

    assert run(code) == ["ran", "False False"]


def test_what_is_not_installed_or_imported_already_is_left_alone(run: Run) -> None:
    code = "import sample\nslim.unrun('sample', 'absent')\nprint(slim.unrun_modules(), 'absent' in sys.modules)"

    assert run(code) == ["ran", "frozenset() False"]


def test_many_threads_that_ask_at_once_see_it_whole(run: Run) -> None:
    code = """
    import threading
    slim.unrun("sample")
    import sample
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(sample.made)) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(set(seen), len(seen))
    """

    assert run(code) == ["ran", "{'in it'} 20"]


def test_a_stand_in_is_there_within_its_block_alone(run: Run) -> None:
    code = """
    with slim.standing_in({"sample": {"made": "stood in"}, "json": None}):
        from sample import made
        try:
            import json
        except ImportError:
            print("absent")
    print(made, "sample" in sys.modules)
    import json, sample
    print(sample.made)
    """

    assert run(code) == ["absent", "stood in False", "ran", "in it"]


def test_what_is_for_later_is_imported_when_it_is_called(run: Run) -> None:
    assert run("made = slim.later('fractions', 'Fraction')\nprint('fractions' in sys.modules, made(1, 2))") == [
        "False 1/2"
    ]


def test_the_standard_library_can_do_without_being_run() -> None:
    code = "from beacon import slim; slim.unrun('ssl'); import http.client, ssl; print(ssl.PROTOCOL_TLS_CLIENT.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "PROTOCOL_TLS_CLIENT\n"
