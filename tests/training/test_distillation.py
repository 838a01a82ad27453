"""Rows from a text: what they start from, that they follow it for every kind of model, and what is refused."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ti_trainer import BadInput, Concept, Diverged, TrainConfig
from ti_trainer.embedding_files import read_embedding
from ti_trainer.training.distillation import distill, distillation_text, planned_file, save

TEXT = "red cat in the snow, good picture of my dog on the beach"


def config_of(model: Path, **changes: Any) -> TrainConfig:
    """Few steps, with the rates of the command."""
    how: dict[str, Any] = {"steps": 30, "lr": 0.2, "lr_schedule": "cosine", "optimizer": "sphere", "warmup_steps": 0}
    concept = {
        "num_vectors": 3,
        **{key: changes.pop(key) for key in ("init", "num_vectors", "negative") if key in changes},
    }
    how |= {"preview_steps": 1, "batch_size": 2, "precision": "fp32", **changes}
    return TrainConfig(Concept("<text>", **concept), model=str(model), **how)


def test_the_same_seed_gives_the_same_rows(model: Path) -> None:
    config = config_of(model, steps=5)
    one, again, other = (
        distill(each, TEXT, denoiser_steps=2).embedding.vectors["clip_l"]
        for each in (config, config, replace(config, seed=1))
    )
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_metadata_say_what_it_stands_for(model: Path, tmp_path: Path) -> None:
    config = config_of(model, steps=4, negative=True)
    found = distill(config, f"  {TEXT}\n", denoiser_steps=3)
    path = planned_file(config, str(tmp_path), overwrite=False)
    assert path == tmp_path / "text.safetensors"
    done = save(found, path, overwrite=False)
    assert done.files == [path]
    written = read_embedding(path)
    assert torch.equal(written.vectors["clip_l"], found.embedding.vectors["clip_l"])
    told = written.metadata
    assert (told["ti_trainer.text"], told["ti_trainer.init"], told["ti_trainer.step"]) == (TEXT, found.init, "7")
    assert json.loads(told["ti_trainer.config"])["optimizer"] == "sphere"
    assert "ti_trainer.data_hash" not in told
    assert written.is_negative
    shown = distillation_text(found)
    assert f"from the words '{found.init}'" in shown
    assert "text encoders: 4 steps, loss" in shown
    with pytest.raises(BadInput, match="exists: choose another output, or add overwrite=True"):
        planned_file(config, str(tmp_path), overwrite=False)
    assert planned_file(config, str(tmp_path), overwrite=True) == path


def test_a_long_text_is_read_whole_or_refused(model: Path) -> None:
    """Of a hundred words the last one matters, where they are read in several windows."""
    text = "the " * 100 + "cat"
    with pytest.raises(BadInput, match=r'the text has 101 tokens, and clip_l reads 75.*long_captions="chunk"'):
        distill(config_of(model), text)
    chunked = config_of(model, steps=3, long_captions="chunk", num_vectors=1)
    rows = [distill(chunked, each).embedding.vectors["clip_l"] for each in (text, text.replace("cat", "dog"))]
    assert not torch.allclose(*rows)


def test_stopped_between_steps(model: Path) -> None:
    """A wish to stop before the first step leaves the start; a signal ends it after the present step."""
    stop = threading.Event()
    stop.set()
    start = distill(config_of(model, init="red cat in"), TEXT, 5, stop)
    assert (start.losses, start.stopped_by) == ({}, 0)
    assert start.embedding.metadata["ti_trainer.step"] == "0"

    class Later:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            if self.asked == 4:
                signal.raise_signal(signal.SIGINT)
            return False

    found = distill(config_of(model), TEXT, 5, Later())
    assert 0 < len(found.losses["text encoders"]) < 30
    assert "denoiser" not in found.losses
    assert found.stopped_by == signal.SIGINT


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        ({}, " \n", "the text is empty"),
        (
            {"num_vectors": 75},
            TEXT,
            "num_vectors=75 and 12 tokens of a template are more than the 75 that clip_l reads",
        ),
        ({"init": "red cat in the snow"}, TEXT, "5 tokens, more than num_vectors=3"),
        ({"num_vectors": 1}, "unbelievable", "no word of the text has as few tokens as num_vectors=1"),
        ({"resolution": 33}, TEXT, "resolution"),
    ],
)
def test_refusals(model: Path, changes: dict[str, Any], text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        distill(config_of(model, **changes), text)


def test_a_token_that_is_a_word(model: Path) -> None:
    config = config_of(model)
    with pytest.raises(BadInput, match="'cat' is already a word"):
        distill(replace(config, concept=Concept("cat", num_vectors=2)), TEXT)


def test_divergence_is_told(model: Path) -> None:
    with pytest.raises(Diverged, match="a lower lr than"):
        distill(config_of(model, optimizer="adamw", lr=1e3, lr_schedule="piecewise:1=1e30", steps=9), TEXT)
