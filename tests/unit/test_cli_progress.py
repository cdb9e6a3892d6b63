"""Long work of a command shows its progress: a bar on a terminal, and elsewhere a line every few seconds."""

import itertools

import pytest

from beacon.cli import progress
from tests.unit import scripts


def test_without_a_terminal_there_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = itertools.count(0.0, 1.0)

    with progress.progress("copying", clock=lambda: next(seconds)) as show:
        for done in range(101):
            show(done, 200)

    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 21
    assert lines[0].startswith("copying: ")
    assert [int(line.removeprefix("copying: ").removesuffix("%")) for line in lines] == sorted(
        int(line.removeprefix("copying: ").removesuffix("%")) for line in lines
    )


def test_short_work_prints_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("copying", clock=lambda: 1.0) as show:
        show(0, 0)
        show(7, 7)

    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar_on_standard_error_alone() -> None:
    code = """
        import os, pty, sys
        reader, writer = pty.openpty()
        os.dup2(writer, 2)
        from beacon.cli import progress
        with progress.progress("copying") as show:
            for done in range(0, 301, 50):
                show(done, 300 if done < 200 else 400)
            show(400, 400)
        os.close(2), os.close(writer)
        seen = b""
        while True:
            try:
                part = os.read(reader, 65536)
            except OSError:
                break
            seen += part
            if not part:
                break
        print(ascii(seen.decode()))
    """

    done = scripts.run(code, environ={"TERM": "xterm"})

    assert done.returncode == 0
    assert b"copying" in done.stdout
    assert b"100%" in done.stdout
    assert done.stdout.count(b"\\n") <= 2  # a bar is drawn in place
