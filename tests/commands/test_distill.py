"""`distill` on the command line; what it learns is tested with training/."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ti_trainer import Concept, TrainConfig
from ti_trainer.cli import main
from ti_trainer.commands import distill as command
from ti_trainer.embedding_files import read_embedding
from ti_trainer.training import distillation

TEXT = "red cat in the snow"


def test_a_file_for_the_webui(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["distill", TEXT, "--model", str(model), "--steps", "3", "--num_vectors", "2", "--token", "<snowcat>"]
    assert main([*arguments, "--negative", "--seed", "4"]) == 0
    shown = capsys.readouterr().out
    assert "wrote snowcat.safetensors" in shown
    assert "WebUIs: cannot load it: no published model has words as wide" in shown
    found = read_embedding("snowcat.safetensors")
    how = {name: command.OWN[name][0] for name in ("lr", "lr_schedule", "optimizer")}
    config = TrainConfig(Concept("<snowcat>", num_vectors=2), model=str(model), steps=3, seed=4, **how)
    wanted = distillation.distill(config, TEXT).embedding
    assert torch.equal(found.vectors["clip_l"], wanted.vectors["clip_l"])
    assert json.loads(found.metadata["ti_trainer.config"])["lr"] == 0.34
    assert found.is_negative
    # nothing is written over, and that is said before anything is learned
    monkeypatch.setattr(distillation, "distill", None)
    assert main(arguments) == 2
    assert "snowcat.safetensors exists: choose another --output, or add --overwrite" in capsys.readouterr().err


def test_what_was_learned_until_it_was_stopped(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(Concept("<text>", num_vectors=2), model=str(model), steps=2)
    whole = distillation.distill(config, TEXT)
    monkeypatch.setattr(distillation, "distill", lambda *arguments: replace(whole, stopped_by=signal.SIGTERM))
    output = tmp_path / "some.safetensors"
    assert main(["distill", TEXT, "--model", str(model), "--out", str(output)]) == 143
    assert "stopped; the file holds the rows so far" in capsys.readouterr().err
    assert torch.equal(read_embedding(output).vectors["clip_l"], whole.embedding.vectors["clip_l"])


def test_what_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(model), "--output", str(tmp_path)]
    assert main(["distill", "red " * 100, *arguments]) == 2
    assert "the text has 100 tokens" in capsys.readouterr().err
    assert main(["distill", TEXT, "--token", "My Cat"]) == 2
    assert "'<my-cat>' would do" in capsys.readouterr().err
    for flags in (["--steps", "0"], ["--images", "x"], ["--denoiser_steps", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            main(["distill", TEXT, *arguments, *flags])
    assert list(tmp_path.iterdir()) == []
