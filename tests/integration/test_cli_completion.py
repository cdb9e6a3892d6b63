"""The shell completes commands, options and their values, with the script that `beacon completion` prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from beacon import errors

BASH = """
source <(beacon completion bash)
complete -p beacon > /dev/null || exit 3
COMP_WORDS=({words}); COMP_CWORD={last}
_beacon_completion beacon
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ZSH = """
autoload -Uz compinit; compinit -u -D
source <(beacon completion zsh)
[[ $_comps[beacon] == _beacon_completion ]] || exit 3
_describe() {{ print -rl -- ${{completions_with_descriptions%%:*}} }}
compadd() {{ print -rl -- $completions }}
words=({words}); CURRENT={last}+1
_beacon_completion
"""
FISH = """
beacon completion fish | source
complete -C '{words}'
"""
CASES = [
    ("beacon ex", ["explain"]),
    ("beacon explain --li", ["--limit"]),
    ("beacon explain -o y", ["yaml"]),
    ("beacon completion ", ["bash", "zsh", "fish"]),
]


def shell(tmp_path: Path, *command: str) -> list[str]:
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (errors.EXIT_OK, "")
    return done.stdout.splitlines()


def script(template: str, words: str) -> str:
    return template.format(words=words.rstrip() + (" ''" if words.endswith(" ") else ""), last=words.count(" "))


@pytest.mark.parametrize(("words", "offered"), CASES)
def test_bash_completes(tmp_path: Path, words: str, offered: list[str]) -> None:
    assert shell(tmp_path, "bash", "--norc", "-c", script(BASH, words)) == offered


@pytest.mark.needs("zsh")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_zsh_completes(tmp_path: Path, words: str, offered: list[str]) -> None:
    assert shell(tmp_path, "zsh", "-f", "-c", script(ZSH, words)) == offered


@pytest.mark.needs("fish")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_fish_completes(tmp_path: Path, words: str, offered: list[str]) -> None:
    found = shell(tmp_path, "fish", "--no-config", "-c", FISH.format(words=words))

    assert sorted(line.partition("\t")[0] for line in found) == sorted(offered)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_script_is_printed_without_its_shell(name: str) -> None:
    command = [sys.executable, "-m", "beacon.cli", "completion", name]
    done = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (errors.EXIT_OK, "")
    assert f"_BEACON_COMPLETE={name}_complete" in done.stdout
