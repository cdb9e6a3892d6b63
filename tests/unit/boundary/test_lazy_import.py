"""Registered modules cost nothing before they run, and behave as usual from the first access."""

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


LEFT = "def left(): return sorted(lazy_import.deferred() & {'sample'})\n"


class Run:
    """Runs code that can import the package `sample`, and gives what it printed."""

    def __init__(self, directory: Path) -> None:
        self._head = (
            f"import sys\nsys.path.insert(0, {str(directory)!r})\nfrom beacon.boundary import lazy_import\n" + LEFT
        )

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
    assert run(f"lazy_import.defer('sample')\n{use}\nprint(part.name, left())") == ["in the part ['sample']"]


@pytest.mark.parametrize("use", ["sample.made", "__import__('sample.part').made", "vars(sample) and sample.made"])
def test_a_package_runs_once_when_one_of_its_own_names_is_used(run: Run, use: str) -> None:
    code = f"lazy_import.defer('sample')\nimport sample\nprint('before')\nprint({use}, sample.name, sample.part.name)"

    assert run(code) == ["before", "ran", "in it in the part in the part"]
    assert run(code + "\nprint(type(sample).__name__, left())")[-1] == "module []"


def test_the_version_of_a_deferred_package_can_be_read(run: Run) -> None:
    assert run("lazy_import.defer('sample')\nfrom sample import __version__\nprint(__version__)") == ["ran", "1"]


def test_iterating_over_all_modules_runs_none(run: Run) -> None:
    code = """
    import inspect, warnings
    lazy_import.defer("sample")
    inspect.getmodule(inspect.currentframe())
    [getattr(module, "__warningregistry__", None) for module in list(sys.modules.values())]
    print(left())
    """

    assert run(code) == ["['sample']"]


def test_a_missing_name_raises_as_usual(run: Run) -> None:
    code = (
        "lazy_import.defer('sample')\nimport sample\nprint(hasattr(sample, 'nothing'), hasattr(sample, '__nothing__'))"
    )

    assert run(code) == ["ran", "False False"]


def test_a_package_that_is_missing_or_already_imported_is_not_changed(run: Run) -> None:
    code = "import sample\nlazy_import.defer('sample', 'absent')\nprint(left(), 'absent' in sys.modules)"

    assert run(code) == ["ran", "[] False"]


def test_many_threads_that_ask_at_once_see_it_whole(run: Run) -> None:
    code = """
    import threading
    lazy_import.defer("sample")
    import sample
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(sample.made)) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(set(seen), len(seen))
    """

    assert run(code) == ["ran", "{'in it'} 20"]


def test_a_hidden_package_is_absent_for_a_moment_only(run: "Run") -> None:
    code = """
        with lazy_import.hidden('sample'):
            try:
                import sample
            except ImportError:
                print('absent')
        import sample
        print(sample.name)
        with lazy_import.hidden('sample'):
            import sample
            print('imported before')
    """

    assert run(code)[0] == "absent"
    assert run(code)[-1] == "imported before"
