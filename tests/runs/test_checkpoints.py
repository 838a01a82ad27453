"""Checkpoints: the same tensors, numbers and bytes again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.run_folders import checkpoint, last_checkpoint, started
from ti_trainer.errors import BadInput
from ti_trainer.runs.checkpoints import Checkpoint, Unusable


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (0, 9, 10, 1_000_000):
        folder.checkpoints.save(checkpoint(step))
    assert folder.checkpoints.steps() == [0, 9, 10, 1_000_000]
    found, expected = last_checkpoint(folder), checkpoint(1_000_000)
    assert found.step == 1_000_000
    assert found.info == expected.info  # infinity and the last bit of 0.1 + 0.2 too
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)
    paths = sorted(folder.files.checkpoints.iterdir())
    assert [path.name for path in paths][:2] == ["step-000000.safetensors", "step-000009.safetensors"]
    again = started(tmp_path / "again")
    again.checkpoints.save(checkpoint(9))
    assert next(again.files.checkpoints.iterdir()).read_bytes() == paths[1].read_bytes()
    assert paths[1].stat().st_size < 1300


def test_unfinished_checkpoints_do_not_count(tmp_path: Path) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    for name in (".step-000004.safetensors.x1", "step-000005.safetensors.part", "step-x.safetensors", "notes.txt"):
        (folder.files.checkpoints / name).write_bytes(b"half")
    assert folder.checkpoints.steps() == [3]
    assert last_checkpoint(folder).step == 3


def test_dropping_later_checkpoints(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (1, 2, 3, 10):
        folder.checkpoints.save(checkpoint(step))
    folder.checkpoints.drop_after(2)
    assert folder.checkpoints.steps() == [1, 2]
    assert torch.equal(last_checkpoint(folder).tensors["rows.clip_l"], checkpoint(2).tensors["rows.clip_l"])


def test_every_flipped_byte_is_seen(tmp_path: Path) -> None:
    """A file that is changed anywhere is refused, or holds what it held: there are blanks at the end of its header."""
    folder = started(tmp_path)
    file = folder.checkpoints.save(checkpoint(3))
    whole = file.read_bytes()
    wanted = folder.checkpoints.load(3)
    harmless = 0
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = folder.checkpoints.load(3)
        except Unusable:
            continue
        harmless += 1
        assert (found.step, found.info) == (wanted.step, wanted.info)
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in wanted.tensors.items())
    assert harmless < 16


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_truncated_files_fall_back(tmp_path: Path, length: int) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(2))
    file = folder.checkpoints.save(checkpoint(3))
    file.write_bytes(file.read_bytes()[:length])
    used: list[int] = []
    notes = folder.checkpoints.use_newest(lambda found: used.append(found.step))
    assert used == [2]
    assert notes == [f"{file} is damaged; the run goes on from step 2"]


def test_what_the_user_of_a_checkpoint_refuses_falls_back_too(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (1, 2):
        folder.checkpoints.save(checkpoint(step))

    def use(found: Checkpoint) -> None:
        if found.step == 2:
            raise Unusable("does not fit")

    assert folder.checkpoints.use_newest(use) == [
        f"{folder.checkpoints.file(2)} does not fit; the run goes on from step 1"
    ]


def test_nothing_whole_is_an_error_and_nothing_at_all_is_none(tmp_path: Path) -> None:
    folder = started(tmp_path)
    assert folder.checkpoints.use_newest(lambda found: None) == []
    folder.checkpoints.file(3).write_bytes(b"half")
    with pytest.raises(BadInput, match=r"000003\.safetensors is damaged, and there is no other .*overwrite=True"):
        folder.checkpoints.use_newest(lambda found: None)


def test_checkpoints_of_another_run_or_step_are_refused(tmp_path: Path) -> None:
    mine, other = started(tmp_path / "mine"), started(tmp_path / "other", lr=0.5)
    file = other.checkpoints.save(checkpoint(3))
    for step in (3, 4):  # as it was named, and renamed
        mine.checkpoints.file(step).write_bytes(file.read_bytes())
        with pytest.raises(Unusable, match="of another run or step"):
            mine.checkpoints.load(step)
    same = started(tmp_path / "same", steps=5000)  # these settings may change
    same.checkpoints.file(3).write_bytes(mine.checkpoints.save(checkpoint(3)).read_bytes())
    assert same.checkpoints.load(3).step == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_only_files_are_checkpoints(tmp_path: Path) -> None:
    """Reading a pipe of that name would never end."""
    folder = started(tmp_path)
    os.mkfifo(folder.checkpoints.file(8))
    folder.checkpoints.file(9).mkdir()
    folder.checkpoints.file(10).symlink_to(tmp_path / "nowhere")
    assert folder.checkpoints.steps() == []
