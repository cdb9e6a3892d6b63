"""The configuration is read by a process that ends, and nothing of what came of it is lost on the way."""

import os
import re
from pathlib import Path

import pytest

from beacon import errors
from beacon.configuration import config_subprocess, loading, settings

TEXT = """
app: {name: "größe"}
resources: [{apiVersion: v1, kind: ConfigMap}]
endpoint: {url: "http://127.0.0.1:1/", retry: {initialBackoff: 2h, maxBackoff: 1h}}
"""


def environ(path: Path) -> dict[str, str]:
    return {**os.environ, "CONFIG_PATH": str(path)}


def test_the_result_equals_that_of_parsing_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(TEXT, encoding="utf-8")

    read = config_subprocess.read(environ(tmp_path / "config.yaml"))

    here = loading.load(environ(tmp_path / "config.yaml"))
    assert settings.from_plain(read.settings) == here.settings
    assert list(read.warnings) == list(here.warnings) != []


def test_every_problem_arrives(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("resources: []\nendpoint: {url: 5, tiemout: 3s}\n", encoding="utf-8")

    with pytest.raises(errors.ConfigError) as there:
        config_subprocess.read(environ(tmp_path / "config.yaml"))
    with pytest.raises(errors.ConfigError) as here:
        loading.load(environ(tmp_path / "config.yaml"))

    assert there.value.problems == here.value.problems
    assert len(there.value.problems) > 2


def test_a_subprocess_that_fails_is_a_start_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(errors.StartError, match=re.escape("exited with 1")) as caught:
        config_subprocess.read({**os.environ, "PYTHONPATH": "", "PYTHONHOME": os.devnull})

    assert caught.value.exit_code == errors.EXIT_SOFTWARE
    assert capfd.readouterr().err  # the subprocess reports the reason
