"""Checkpoints: the same tensors, numbers and bytes again."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.run_folders import checkpoint, started


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (0, 9, 10, 1_000_000):
        folder.checkpoints.save(checkpoint(step))
    assert folder.checkpoints.steps() == [0, 9, 10, 1_000_000]
    assert torch.equal(folder.checkpoints.load(9).tensors["rows.clip_l"], checkpoint(9).tensors["rows.clip_l"])
    found, expected = folder.checkpoints.load_last(), checkpoint(1_000_000)
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
    assert paths[1].stat().st_size < 1000


def test_unfinished_checkpoints_do_not_count(tmp_path: Path) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    for name in (".step-000004.safetensors.x1", "step-000005.safetensors.part", "step-x.safetensors", "notes.txt"):
        (folder.files.checkpoints / name).write_bytes(b"half")
    assert folder.checkpoints.steps() == [3]
    assert folder.checkpoints.load_last().step == 3


def test_dropping_later_checkpoints(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for step in (1, 2, 3, 10):
        folder.checkpoints.save(checkpoint(step))
    folder.checkpoints.drop_after(2)
    assert folder.checkpoints.steps() == [1, 2]
    assert torch.equal(folder.checkpoints.load_last().tensors["rows.clip_l"], checkpoint(2).tensors["rows.clip_l"])
