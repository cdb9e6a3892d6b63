"""Reads files safely: only regular files, opened without blocking, up to a size limit.

A path from a configuration, or in a directory that others can write to, may be a FIFO, on which `open` hangs, or a
device, from which `read` fills the memory. Symbolic links are followed unless the caller forbids it, because Kubernetes
mounts secrets as links. Every rejection is an `OSError` with an `strerror`, like those of the system. Standard library
only, because the sentinel reads files, too.
"""

import codecs
import errno
import os
import stat
from pathlib import Path

SECRET_BYTES = 64 * 1024  # a token or a password
CERTIFICATES_BYTES = 16 * 1024 * 1024  # a bundle of authorities; that of a Linux distribution has 0.2 MB
_CHUNK = 64 * 1024
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: str | Path, *, most_bytes: int, follow: bool = True) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: the file can't be opened or read, is not a regular file, or has more than `most_bytes`.
    """
    fd = _open(path, follow=follow)
    try:
        _check(fd, path, most_bytes)
        chunks, left = [], most_bytes + 1
        while left > 0 and (chunk := os.read(fd, min(left, _CHUNK))):
            chunks.append(chunk)
            left -= len(chunk)
    finally:
        os.close(fd)
    if left <= 0:
        raise _too_large(path, most_bytes)
    return b"".join(chunks)


def read_text(path: str | Path, *, most_bytes: int, follow: bool = True) -> str:
    """Return the content of a regular file that holds UTF-8 text, without a byte order mark.

    Raises:
        OSError: as `read`.
        UnicodeDecodeError: the content is not UTF-8.
    """
    return without_mark(read(path, most_bytes=most_bytes, follow=follow)).decode("utf-8")


def without_mark(data: bytes) -> bytes:
    """Return the content of a text file without the byte order mark that some editors write."""
    return data.removeprefix(codecs.BOM_UTF8)


def check_unmarked(path: str | Path) -> None:
    """Raise if a file begins with a byte order mark, before a library reads it that does not skip one.

    Raises:
        OSError: the file begins with one, or can't be read.
    """
    if head(path, count=max(map(len, _MARKS))).startswith(_MARKS):
        raise OSError(errno.EINVAL, "It begins with a byte order mark: save it as plain text", os.fspath(path))


def head(path: str | Path, *, count: int) -> bytes:
    """Return the first bytes of a regular file, however large it is.

    Raises:
        OSError: the file can't be opened or read, or is not a regular file.
    """
    fd = _open(path, follow=True)
    try:
        _check_regular(os.fstat(fd).st_mode, path)
        return os.read(fd, count)
    finally:
        os.close(fd)


def tail(path: str | Path, *, count: int) -> bytes:
    """Return the last bytes of a regular file, however large it is.

    Raises:
        OSError: the file can't be opened or read, or is not a regular file.
    """
    fd = _open(path, follow=True)
    try:
        found = os.fstat(fd)
        _check_regular(found.st_mode, path)
        return os.pread(fd, count, max(0, found.st_size - count))
    finally:
        os.close(fd)


def check(path: str | Path, *, most_bytes: int) -> None:
    """Raise if `read` would reject a file, before a library opens it by its path.

    Raises:
        OSError: as `read`.
    """
    fd = _open(path, follow=True)
    try:
        _check(fd, path, most_bytes)
    finally:
        os.close(fd)


def write(path: str | Path, data: bytes) -> None:
    """Replace the content of one of Beacon's own files, or create it; links are not followed.

    Raises:
        OSError: the write failed; the previous content may be lost.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    with open(fd, "wb", buffering=0) as file:  # noqa: PTH123  a descriptor
        _check_regular(os.fstat(fd).st_mode, path)
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def _open(path: str | Path, *, follow: bool) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        _check_regular(Path(path).stat(follow_symlinks=follow).st_mode, path)  # opening a device may have side effects
        return os.open(path, flags)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the path contains a NUL", repr(path)) from error


def _check(fd: int, path: str | Path, most_bytes: int) -> None:
    found = os.fstat(fd)
    _check_regular(found.st_mode, path)
    if found.st_size > most_bytes:
        raise _too_large(path, most_bytes)


def _check_regular(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def _too_large(path: str | Path, most_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"Larger than {_size(most_bytes)}", os.fspath(path))


def _size(count: int) -> str:
    if count % (1024 * 1024) == 0:
        return f"{count // (1024 * 1024)} MiB"
    return f"{count // 1024} KiB" if count % 1024 == 0 else f"{count} bytes"
