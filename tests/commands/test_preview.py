"""`preview` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ti_trainer import ModelConfig, Run
from ti_trainer.cli import main
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.families import load_with_embeddings
from ti_trainer.reports.grids import grid
from ti_trainer.reports.previews import generate


def test_preview_command(model: Path, finished_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "grid.png"
    prompts = ["a photo of a <my-cat>", "a <my-cat> in the snow"]
    flags = ["--model", str(model), "--preview_steps", "2", "--preview_seeds", "2", "--output", str(output)]
    flags += ["--prompts", "a photo of a {token}", prompts[1]]
    assert main(["preview", str(finished_run.embedding), *flags]) == 0
    assert capsys.readouterr().out.strip().endswith(str(output))
    family = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(finished_run.embedding)])
    rows = [(f"seed {seed}", generate(family, prompts, seed, 2, 5.0)) for seed in range(2)]
    with Image.open(output) as saved:
        found = np.asarray(saved.convert("RGB")).astype(int)
    assert np.abs(found - np.asarray(grid(rows, prompts)).astype(int)).max() <= 1


def test_a_file_of_another_width_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wide.safetensors"
    write_embedding(Embedding("<wide>", {"clip_l": torch.ones(1, 768)}), file, "webui")
    assert main(["preview", str(file), "--model", str(model), "--prompts", "a <wide>"]) == 2
    assert "clip_l 768 wide" in capsys.readouterr().err
