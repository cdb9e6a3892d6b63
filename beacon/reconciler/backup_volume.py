"""`python -m beacon.reconciler.backup_volume`: reads and writes the directory of scheduled backups.

A process of its own, because a volume that hangs (NFS) blocks every call that uses it, and then not even a kill ends
the process: only this one may hang. `list DIRECTORY` removes what a killed process left behind, and `store DIRECTORY
FILE KEEP TIME` does so, too, copies FILE, compares the copy with it, and removes the oldest backups. It writes a line
for each part that is done, so that its parent notices when it hangs, and a JSON object at the end. Standard library
only.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from beacon.reconciler import backup_names
from beacon.runtime import parent_death

_PART = 4 * 1024 * 1024
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class VolumeError(Exception):
    """The volume can't be used; the message is a sentence for an operator."""


def look(directory: Path) -> dict[str, object]:
    """Remove what a killed process left behind. Return the newest backup."""
    existing = _clear(directory)
    newest = existing[-1] if existing else None
    return {"name": newest.name if newest else "", "made_at": newest.made_at if newest else 0.0}


def store(directory: Path, source: Path, *, keep: int, now_s: float) -> dict[str, object]:
    """Copy a file to the directory under the next name, and remove the oldest backups. Return its name and size.

    Raises:
        VolumeError: there is no free space, or the copy is not the same as the file.
    """
    existing = _clear(directory)
    target = directory / backup_names.next_name(existing, now_s)
    partial = directory / backup_names.unfinished_name(target.name)
    size = source.stat().st_size
    volume = os.statvfs(directory)
    available = volume.f_bavail * volume.f_frsize
    if available < size:
        raise VolumeError(f"the backup volume {directory} has {available} bytes free, but {size} are needed")
    try:
        written = _copy(source, partial)
        if _digest(partial) != written:
            raise VolumeError(f"the backup volume {directory} returns other bytes than were written")
        partial.rename(target)
        _sync(directory)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise VolumeError(f"the backup volume {directory} has no free space: {size} bytes are needed") from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    for old in backup_names.superfluous(backup_names.parse(_names(directory)), keep):
        (directory / old.name).unlink(missing_ok=True)
        _show_progress()
    return {"name": target.name, "bytes": size}


def main(arguments: list[str]) -> int:
    """Run one command, and return the exit code."""
    command, directory = arguments[0], Path(arguments[1])
    try:
        if command == "list":
            result = look(directory)
        else:
            result = store(directory, Path(arguments[2]), keep=int(arguments[3]), now_s=float(arguments[4]))
    except VolumeError as error:
        result = {"error": str(error)}
    except FileNotFoundError:
        result = {"error": f"the backup directory {directory} does not exist: is the volume mounted?"}
    except OSError as error:
        result = {"error": f"the backup directory {directory} can't be used: {error.strerror or error}"}
    sys.stdout.write(f"{json.dumps(result)}\n")
    sys.stdout.flush()
    return 1 if "error" in result else 0


def _clear(directory: Path) -> list[backup_names.StoredBackup]:
    """Remove unfinished backups, and return the others, oldest first."""
    names = _names(directory)
    for name in backup_names.unfinished(names):
        (directory / name).unlink(missing_ok=True)
        _show_progress()
    return backup_names.parse(names)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _copy(source: Path, target: Path) -> bytes:
    """Copy a file to the volume, synced, and return the digest of what was read."""
    digest = hashlib.sha256()
    opened = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for part in _parts(source):
            digest.update(part)
            left = memoryview(part)
            while left:
                left = left[os.write(opened, left) :]
            os.fdatasync(opened)  # a sync of the whole file at the end may take longer than the parent waits
            _show_progress()
        os.fsync(opened)
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the comparison reads from the volume
    finally:
        os.close(opened)
    return digest.digest()


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    for part in _parts(path):
        digest.update(part)
        _show_progress()
    return digest.digest()


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while part := file.read(_PART):
            yield part


def _show_progress() -> None:
    sys.stdout.write(".\n")
    sys.stdout.flush()


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


if __name__ == "__main__":
    parent_death.die_with_parent({})
    sys.exit(main(sys.argv[1:]))
