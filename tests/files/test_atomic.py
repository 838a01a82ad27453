"""A file is the old one or the whole new one, whatever happens on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ti_trainer.files.atomic import write_bytes


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
    """All of it is synced before the rename: after a power cut there is the old file or the whole new one."""
    calls: list[tuple[str, object]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(file: int) -> None:
        calls.append(("fsync", os.fstat(file).st_size))
        fsync(file)

    def noted_replace(old: str, new: Path) -> None:
        calls.append(("replace", new))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    path = tmp_path / "x.bin"
    write_bytes(bytes(100_000), path)
    assert calls == [("fsync", 100_000), ("replace", path)]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_may_read_it(tmp_path: Path) -> None:
    write_bytes(b"x", tmp_path / "x.bin")
    assert stat.S_IMODE((tmp_path / "x.bin").stat().st_mode) == 0o644
