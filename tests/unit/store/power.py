"""A volume that loses what was not synced when the power goes: kill -9 alone can't show a missing fsync."""

from pathlib import Path
from typing import Any

import apsw


class Volume(apsw.VFS):
    """Passes everything on to the operating system and remembers each file as of its last sync."""

    def __init__(self, name: str) -> None:
        self.synced: dict[str, bytes] = {}
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        return _File(self, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802  SQLite's name
        super().xDelete(name, sync_directory)
        self.synced.pop(name, None)

    def after_power_cut(self, directory: Path) -> None:
        """Put into a fresh directory what a disk would hold if the power went now."""
        for name, content in self.synced.items():
            (directory / Path(name).name).write_bytes(content)


class _File(apsw.VFSFile):
    def __init__(self, volume: Volume, name: Any, flags: list[int]) -> None:
        self._volume = volume
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        super().xSync(flags)
        if self._path:
            self._volume.synced[self._path] = Path(self._path).read_bytes()
