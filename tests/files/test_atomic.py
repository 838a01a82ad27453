"""A file is the old one or the whole new one, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ti_trainer.files.atomic import remove_unfinished, sync_folder, write_bytes


def test_content_is_what_was_given(tmp_path: Path) -> None:
    """Folders are made; a file that is there is replaced, not written into: who has it open reads on in the old one."""
    path = tmp_path / "deep" / "er" / "x.bin"
    payload = bytes(range(256)) * 300
    write_bytes(payload, path)
    assert path.read_bytes() == payload
    with path.open("rb") as reader:
        write_bytes(b"new", path)
        assert reader.read() == payload
    assert path.read_bytes() == b"new"
    assert [item.name for item in path.parent.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("problem", [OSError("no space left on device"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, problem: BaseException
) -> None:
    path = tmp_path / "x.bin"
    write_bytes(b"old", path)

    def fail(*arguments: Any) -> None:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(type(problem)):
            write_bytes(b"new", path)
    assert [item.name for item in tmp_path.iterdir()] == ["x.bin"]
    assert path.read_bytes() == b"old"
    write_bytes(b"new", path)
    assert path.read_bytes() == b"new"


def test_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is synced before the rename: after a power cut there is the old file or the whole new one.

    The names of the file and of new folders are synced too.
    """
    calls: list[tuple[str, object]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(file: int) -> None:
        kind = os.fstat(file)
        calls.append(("fsync", "folder" if stat.S_ISDIR(kind.st_mode) else kind.st_size))
        fsync(file)

    def noted_replace(old: str, new: Path) -> None:
        calls.append(("replace", new))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    path = tmp_path / "x.bin"
    write_bytes(bytes(100_000), path)
    assert calls == [("fsync", 100_000), ("replace", path), ("fsync", "folder")]
    calls.clear()
    write_bytes(b"x", tmp_path / "a" / "b" / "x.bin")
    assert calls == [("fsync", "folder")] * 2 + [("fsync", 1), ("replace", tmp_path / "a" / "b" / "x.bin")] + [
        ("fsync", "folder")
    ]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_may_read_it(tmp_path: Path) -> None:
    write_bytes(b"x", tmp_path / "x.bin")
    assert stat.S_IMODE((tmp_path / "x.bin").stat().st_mode) == 0o644


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_file_systems_that_cannot_sync_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raises: bool
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)) if raises else nullcontext():
        sync_folder(tmp_path)


def test_what_dead_writers_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only files of our making go, and only those that are asked for."""
    (tmp_path / "deep").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda path: None)  # as in a process that is killed
        patch.setattr(os, "replace", lambda old, new: 1 / 0)
        for path in (tmp_path / "x.json", tmp_path / "xx.json", tmp_path / "deep" / "x.json"):
            with pytest.raises(ZeroDivisionError):
                write_bytes(b"new", path)
    for name in (".gitignore", ".my.settings", "x.json", ".x.json.part", "y.abcdefgh.part"):
        (tmp_path / name).write_bytes(b"mine")
    kept = {".gitignore", ".my.settings", "x.json", ".x.json.part", "y.abcdefgh.part", "deep"}
    remove_unfinished(tmp_path, "x.json")
    left = {path.name for path in tmp_path.iterdir()} - kept
    assert len(left) == 1
    assert left.pop().startswith(".xx.json.")
    assert len(list((tmp_path / "deep").iterdir())) == 1
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert list((tmp_path / "deep").iterdir()) == []
