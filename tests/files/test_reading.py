"""Only regular files are read, at once, and never more of one than its kind may have."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files.reading import Kind, open_regular, read

SHORT = Kind("a note", 5, "write less")


def refusal(path: Path, name: str = "") -> str:
    """What is said of a file, within a second."""
    began = time.monotonic()
    with pytest.raises(BadInput) as caught:
        read(path, SHORT, name)
    assert time.monotonic() - began < 1
    return str(caught.value)


def test_bytes_up_to_the_limit(tmp_path: Path) -> None:
    for content in (b"", b"1", b"12345"):
        (tmp_path / "x").write_bytes(content)
        assert read(tmp_path / "x", SHORT) == content
    (tmp_path / "link").symlink_to("x")
    assert read(tmp_path / "link", SHORT) == b"12345"


def test_more_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123456")
    assert refusal(tmp_path / "x") == f"{tmp_path}/x has 6 bytes, and a note has at most 5; write less"
    assert refusal(tmp_path / "x", "--note x").startswith("--note x has 6 bytes")
    with (tmp_path / "x").open("wb") as file:
        file.truncate(2**40)  # a hole of a terabyte
    assert "has 1,099,511,627,776 bytes" in refusal(tmp_path / "x")


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to is not waited for, and a device without an end is not read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for what in ("pipe", "device", "folder", "socket"):
            assert refusal(tmp_path / what) == f"{tmp_path}/{what} is not a file but a {what}; give a file"


def test_pipe_that_takes_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the opening: what was opened is looked at again, and closed."""
    (tmp_path / "x").write_bytes(b"1")
    as_file = os.stat(tmp_path / "x")
    (tmp_path / "x").unlink()
    os.mkfifo(tmp_path / "x")
    monkeypatch.setattr(os, "stat", lambda path: as_file)
    before = len(os.listdir("/proc/self/fd"))
    assert "is not a file but a pipe" in refusal(tmp_path / "x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_without_a_size(tmp_path: Path) -> None:
    """Those of /proc say that they are regular and empty, and hold what is nobody's caption."""
    assert "has more bytes than its system says" in refusal(Path("/proc/self/environ"))


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone") == f"{tmp_path}/gone cannot be read: No such file or directory"
    assert refusal(tmp_path / ("a" * 300)).endswith("cannot be read: File name too long")
    for name in ("a\0b", "a\ud800b"):
        message = refusal(tmp_path / name)
        assert message.endswith("cannot be read: no file has such a name")
        assert message.isprintable()


def test_open_file_is_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123456789")
    with open_regular(tmp_path / "x") as file:
        assert file.read(3) == b"123"
