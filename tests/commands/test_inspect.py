"""`inspect` on the command line; its figures are tested with reports/."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ti_trainer.cli import main
from ti_trainer.embedding_files import Embedding, write_embedding


def test_a_model_of_another_family(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_embedding(Embedding("<cat>", {"clip_l": torch.ones(1, 768)}), tmp_path / "cat.safetensors", "webui")
    assert main(["inspect", str(tmp_path / "cat.safetensors"), "--model", str(model)]) == 2
    assert "clip_l 768 wide (SD 1.x or Flux), and this model has clip_l 32 wide" in capsys.readouterr().err


def test_metadata_cannot_play_with_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = {"note\x1b[2J": "line\none\r\x1b]0;title\x07 and ünïcode"}
    write_embedding(Embedding("<cat>", {"clip_l": torch.ones(1, 8)}, metadata), tmp_path / "cat.safetensors", "webui")
    assert main(["inspect", str(tmp_path / "cat.safetensors")]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "note\\x1b[2J = line\\none\\r\\x1b]0;title\\x07 and ünïcode" in out


def test_a_model_is_loaded_only_when_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bundled one would refuse this width; other settings of a model alone load none."""
    write_embedding(Embedding("<cat>", {"clip_l": torch.ones(1, 768)}), tmp_path / "cat.safetensors", "webui")
    assert main(["inspect", str(tmp_path / "cat.safetensors"), "--offline"]) == 0
    assert "width 768" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "cat.safetensors"), "--model", "tiny-sd"]) == 2
    assert "clip_l 768 wide" in capsys.readouterr().err
