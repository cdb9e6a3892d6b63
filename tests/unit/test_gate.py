"""The gate's tiers and components are those of one file, and a machine that lacks something is treated as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gate import __main__ as gate
from tests.gate import needs, report, scheduling, tiers

PLAN = tiers.read()
LACKING = tiers.Plan(
    order=(),
    components={
        "there": tiers.Component(name="there", purpose="", probe=("sh",), debian=("dash",)),
        "gone": tiers.Component(name="gone", purpose="", probe=("sh", "no-such-program"), debian=("one", "two")),
        "file": tiers.Component(name="file", purpose="", probe=("/usr/no/*.such",), debian=("three",)),
        "wheel": tiers.Component(name="wheel", purpose="", probe=("no-such-program",), pypi="a-wheel"),
        "other": tiers.Component(name="other", purpose="", probe=("gone",), debian=("four",), machines=("vax",)),
    },
)
MARK = re.compile(r"needs(?:\.require)?\(((?:\"[a-z]+\"(?:, )?)+)\)")


def named() -> set[str]:
    """Find the components that tests name."""
    paths = [
        path
        for path in (tiers.ROOT / "tests").rglob("*.py")
        if "gate" not in path.parts[-2:-1] and path.name != "test_gate.py"
    ]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {name.strip('" ') for text in texts for found in MARK.findall(text) for name in found.split(",")} - {
        "gone",
        "there",
    }


def test_every_directory_of_tests_belongs_to_a_tier_of_the_gate_or_is_run_by_hand() -> None:
    run = {path for name in (*PLAN.order, *PLAN.beside, "image") for path in PLAN.tiers[name].paths}

    found = {f"tests/{path.parent.name}" for path in (tiers.ROOT / "tests").glob("*/test_*.py")}

    assert found <= run
    assert all((tiers.ROOT / path).is_dir() for tier in PLAN.tiers.values() for path in tier.paths)


def test_the_components_that_tests_need_are_those_of_the_file() -> None:
    assert named() == set(PLAN.components)


def test_a_component_comes_from_one_place_and_pypis_are_development_requirements() -> None:
    required = (tiers.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    unpacked = (tiers.ROOT / "requirements-helm.lock").read_text(encoding="utf-8")

    for one in PLAN.components.values():
        assert [bool(one.debian), bool(one.pypi), bool(one.npm)].count(True) == 1, one.name
        assert f'"{one.pypi}' in required or unpacked.startswith(f"{one.pypi}=="), one.name


@pytest.mark.parametrize(("ci", "wrong"), [("", False), ("true", True), ("false", False)])
def test_a_missing_component_that_can_be_installed_is_an_error_in_ci_alone(ci: str, *, wrong: bool) -> None:
    absence = LACKING.absent("gone", environ={"CI": ci})

    assert absence == tiers.Absence(
        why="gone is needed, and no-such-program is not installed (Debian: one two)", wrong=wrong
    )
    assert LACKING.absent("there", environ={"CI": ci}) is None


def test_a_component_that_does_not_exist_for_this_machine_is_never_an_error() -> None:
    absence = LACKING.absent("other", environ={"CI": "true"})

    assert absence is not None
    assert not absence.wrong


def test_only_the_packages_of_missing_components_are_installed() -> None:
    assert LACKING.packages() == ["one", "three", "two"]


def test_the_packages_are_found_before_there_is_a_virtual_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tiers.__file__), "packages"], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == PLAN.packages()


def test_a_test_that_lacks_its_component_is_skipped_with_the_reason_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    why = re.escape("gone is needed, and no-such-program is not installed (Debian: one two)")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=why):
        needs.require("gone", LACKING)

    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=why):
        needs.require("gone", LACKING)

    needs.require("there", LACKING)


@pytest.mark.slow
def test_a_mark_requires_the_named_components(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.needs('no-such')\ndef test_it(): pass\ndef test_other(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tiers.ROOT)}
    done = subprocess.run(
        [*command, "-W", "ignore", str(tmp_path)],
        cwd=tiers.ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "KeyError: 'no-such'" in done.stdout
    assert "1 passed, 1 error" in done.stdout


@pytest.mark.slow
def test_tiers_beside_the_others_run_in_turn_and_their_output_is_printed_as_a_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    turns = tmp_path / "turns"
    made = []
    for name in ("one", "two"):
        file = tmp_path / f"test_{name}.py"
        file.write_text(
            f"def test_it():\n    open({str(turns)!r}, 'a').write('{name} ')\n    assert '{name}' != 'two'\n"
        )
        made.append(tiers.Tier(name=f"lane-{name}", purpose="", paths=(str(file),), workers=0, interpreters="one"))

    outcomes = gate.Lane(made, jobs=1).outcomes()

    assert [(one.name, one.code, len(one.cases)) for one in outcomes] == [("lane-one", 0, 1), ("lane-two", 1, 1)]
    assert turns.read_text() == "one two "
    shown = capfd.readouterr().out
    assert shown.index("lane-one, which ran beside") < shown.index("1 passed") < shown.index("lane-two, which ran")
    assert shown.index("lane-two, which ran") < shown.index("1 failed")


def test_only_the_files_whose_tests_share_a_fixture_stay_on_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_alone.py").write_text("@pytest.fixture\ndef mine(): pass\n")
    (tmp_path / "test_shared.py").write_text('@pytest.fixture(scope="module")\ndef shared(): pass\n')
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "conftest.py").write_text('@pytest.fixture(scope="module")\ndef shared(): pass\n')
    (tmp_path / "inner" / "test_under.py").write_text("def test_it(shared): pass\n")

    assert [scheduling.shares_fixtures(path) for path in sorted(tmp_path.rglob("test_*.py"))] == [True, False, True]


def test_workers_follow_the_cores_and_an_expensive_file_stays_together() -> None:
    words = gate.command(PLAN.tiers["system"], 1)

    assert words[words.index("-n") + 1] == str(round(PLAN.tiers["system"].workers))
    assert words[words.index("--dist") + 1] == "loadscope"


def test_the_slowest_tests_and_the_minutes_of_each_tier_are_shown(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.unit.test_a" name="test_one" time="0.5"/>'
        '<testcase classname="tests.unit.test_a" name="test_two" time="3.25"><failure message="x"/></testcase>'
        '<testcase classname="tests.unit.test_a" name="test_three" time="0.0"><skipped message="x"/></testcase>'
        "</testsuite></testsuites>"
    )
    found = report.cases(tmp_path / "unit.xml")

    shown = report.rendered(
        [
            report.Outcome(name="unit", code=1, minutes=1.25, cases=found),
            report.Outcome(name="system", code=0, minutes=2.0, cases=report.cases(tmp_path / "none.xml")),
        ]
    ).splitlines()

    assert shown[2].split() == ["3.2", "tests/unit/test_a::test_two"]
    assert shown[3].split() == ["0.5", "tests/unit/test_a::test_one"]
    assert shown[-2].split() == ["unit", "3", "1", "1", "1.2", "FAILED"]
    assert shown[-1].split() == ["system", "0", "0", "0", "2.0"]
