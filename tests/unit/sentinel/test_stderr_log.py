"""The sentinel's lines look like everybody's."""

import json
import subprocess
import sys

from beacon.runtime import log


def spoken(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_line_has_the_same_form_as_the_others() -> None:
    other = f"from {log.__name__} import configure, get; configure('sentinel', fd=2); get().error('killed', pid=7)"
    ours = "from beacon.sentinel import stderr_log; stderr_log.say('error', 'killed', pid=7)"

    (theirs,), (mine,) = spoken(other), spoken(ours)

    assert len(theirs) == len(mine)  # whoever looks for a field in the text finds it in all
    one, two = json.loads(theirs), json.loads(mine)
    assert list(one) == list(two)
    assert len(one.pop("ts")) == len(two.pop("ts"))
    assert one == two


def test_a_long_value_is_cut_so_that_a_line_is_written_whole() -> None:
    (line,) = spoken("from beacon.sentinel import stderr_log; stderr_log.say('error', 'x', reason='y' * 9000)")

    assert len(line) < 4096


def test_an_unexpected_end_is_a_line_too() -> None:
    (line,) = spoken("import sys; from beacon.sentinel import stderr_log; sys.excepthook = stderr_log.say_last; 1 / 0")

    said = json.loads(line)
    assert (said["event"], said["error"]) == ("failed unexpectedly", "ZeroDivisionError")
    assert "division by zero" in said["traceback"]


def test_the_sentinel_loads_no_third_party_library() -> None:
    code = """
import sys
before = set(sys.modules)
import beacon.sentinel.__main__
allowed = {*sys.stdlib_module_names, 'beacon'}
new = {name.partition('.')[0] for name in set(sys.modules) - before}
print(*sorted(new - allowed), file=sys.stderr)
"""
    assert spoken(code) == [""]
