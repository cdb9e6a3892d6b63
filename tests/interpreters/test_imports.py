"""Every module of the image can be imported with only the runtime lock, without a warning."""

import subprocess
import sys
from pathlib import Path

import beacon

_IMPORT = "import importlib, sys\nfor name in sys.stdin.read().split(): importlib.import_module(name)"


def test_every_module_is_imported() -> None:
    root = Path(beacon.__file__).parent
    found = [path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py")]
    names = [".".join(path.parts).removesuffix(".__init__") for path in found if path.parts[1] != "dev"]
    assert len(names) > 100

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT],
        input="\n".join(sorted(names)),
        text=True,
        capture_output=True,
        check=False,
        cwd=root.parent,
    )

    assert (done.returncode, done.stderr) == (0, "")
