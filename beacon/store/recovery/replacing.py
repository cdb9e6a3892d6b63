"""Puts a complete, checked file in the place of the ledger; the previous ledger is kept beside it.

From the moment when the new file has its final name, `<ledger>.restore`, the replacement is decided: if the process is
killed, the next start of the store completes it. The previous ledger keeps its path until the new file replaces it in
one step, and its write-ahead log goes with it, because SQLite would apply it to the new file.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LOG, _INDEX, _MARKER = "-wal", "-shm", ".mark"


def unfinished_file(path: Path) -> Path:
    """Return the path of the file that is being built to replace the ledger."""
    return path.with_name(f"{path.name}.restore-unfinished")


def replace(path: Path) -> Path | None:
    """Put the file that was built in the place of the ledger; return the path of the previous ledger, if it exists.

    Raises:
        OSError: the directory does not permit it.
    """
    resume(path)  # a replacement that was interrupted before
    had_ledger = path.exists()
    for _ in decide(path):
        pass
    aside = resume(path)
    return aside if had_ledger else None


def decide(path: Path) -> Iterator[None]:
    """Rename the file that was built to its final name; each step may be the last one before a crash."""
    unfinished_file(path).replace(_decided(path))
    yield
    _sync(path.parent)
    yield


def resume(path: Path) -> Path | None:
    """Complete a replacement that was decided; return the path of the previous ledger, None if there is none."""
    return next((aside for aside in steps(path) if aside is not None), None)


def steps(path: Path) -> Iterator[Path | None]:
    """Carry out a replacement that was decided, step by step; the last value is the path of the previous ledger."""
    fresh = _decided(path)
    if not fresh.exists():
        return
    aside = _free_name(path) if path.exists() else _abandoned(path)
    if path.exists() and not aside.exists():
        _link(path, aside)
        yield None
        _sync(path.parent)
        yield None
    if _beside(path, _LOG).exists():
        _beside(path, _LOG).rename(_beside(aside, _LOG))
        yield None
    for suffix in (_INDEX, _MARKER):
        _beside(path, suffix).unlink(missing_ok=True)
        yield None
    _sync(path.parent)
    fresh.rename(path)
    yield None
    _sync(path.parent)
    yield aside if aside.exists() else None


def _link(path: Path, aside: Path) -> None:
    """Link the previous ledger to a second name, or rename it if the file system has no links."""
    try:
        aside.hardlink_to(path)
    except OSError:
        path.rename(aside)


def _free_name(path: Path) -> Path:
    """Return the name for the previous ledger: one that is free, or that this replacement gave it before a crash."""
    return next(name for name in _names(path) if not _is_taken(name) or _is_same(name, path))


def _abandoned(path: Path) -> Path:
    """Return the name that the previous ledger got before a crash, where it could not have two: the last one taken."""
    names = list(itertools.takewhile(_is_taken, _names(path)))
    return names[-1] if names else next(_names(path))


def _names(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}.replaced")
    yield from (path.with_name(f"{path.name}.replaced-{number}") for number in itertools.count(2))


def _is_taken(name: Path) -> bool:
    return name.exists() or _beside(name, _LOG).exists()


def _is_same(name: Path, path: Path) -> bool:
    with suppress(OSError):
        return name.samefile(path)
    return False


def _decided(path: Path) -> Path:
    return path.with_name(f"{path.name}.restore")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
