import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from beacon.boundary import files


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    return path


def _device(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def _terminal(path: Path) -> Path:
    path.symlink_to("/dev/tty")
    return path


NO_FILES = [_fifo, _directory, _socket, _device, _terminal]


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize("follow", [True, False])
def test_only_a_regular_file_is_read(tmp_path: Path, make: Callable[[Path], Path], follow: bool) -> None:
    path = make(tmp_path / "it")

    with pytest.raises(OSError, match=r"Not a regular file|Is a directory"):
        files.read(path, most_bytes=100, follow=follow)


@pytest.mark.parametrize("make", NO_FILES)
def test_only_a_regular_file_passes_the_check_for_a_library(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "it")

    with pytest.raises(OSError, match=r"Not a regular file|Is a directory"):
        files.check(path, most_bytes=100)


def test_a_file_is_read_up_to_its_bound_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"x" * 100)

    assert files.read(path, most_bytes=100) == b"x" * 100
    files.check(path, most_bytes=100)
    with pytest.raises(OSError, match="Larger than 99 bytes"):
        files.read(path, most_bytes=99)
    with pytest.raises(OSError, match="Larger than 99 bytes"):
        files.check(path, most_bytes=99)


def test_a_file_that_has_more_than_its_size_states_is_bounded_too() -> None:
    # Files of /proc state a size of 0.
    assert files.read("/proc/self/stat", most_bytes=4096)
    with pytest.raises(OSError, match="Larger than 8 bytes"):
        files.read("/proc/self/stat", most_bytes=8)


def test_a_link_is_followed_unless_it_must_not_be(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("s3cret\n", encoding="utf-8")
    (tmp_path / "token").symlink_to("..data/token")  # as Kubernetes mounts a secret

    assert files.read_text(tmp_path / "token", most_bytes=100) == "s3cret\n"
    with pytest.raises(OSError, match="Not a regular file"):
        files.read(tmp_path / "token", most_bytes=100, follow=False)


def test_a_path_that_names_nothing_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none", most_bytes=100)
    with pytest.raises(OSError, match="NUL"):
        files.read("a\0b", most_bytes=100)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"\xff")

    with pytest.raises(UnicodeDecodeError):
        files.read_text(path, most_bytes=100)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"\xef\xbb\xbfs3cret")

    assert files.read_text(path, most_bytes=100) == "s3cret"
    assert files.without_mark(files.read(path, most_bytes=100)) == b"s3cret"


def test_a_file_is_written_but_nothing_that_a_link_or_a_fifo_leads_to(tmp_path: Path) -> None:
    files.write(tmp_path / "it", b"one and more")
    files.write(tmp_path / "it", b"two")
    (tmp_path / "victim").write_text("precious", encoding="utf-8")
    (tmp_path / "link").symlink_to("victim")
    _fifo(tmp_path / "fifo")

    for name in ("link", "fifo"):
        with pytest.raises(OSError, match=name):
            files.write(tmp_path / name, b"x")

    assert (tmp_path / "it").read_bytes() == b"two"
    assert (tmp_path / "victim").read_text(encoding="utf-8") == "precious"


def test_the_head_of_a_file_is_read_however_large_it_is(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"header and much more")

    assert files.head(path, count=6) == b"header"
    with pytest.raises(OSError, match="Not a regular file"):
        files.head(_fifo(tmp_path / "fifo"), count=6)
