"""What a run leaves for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.running import TOKEN, MakeTwo, checkpoint, exported
from tests.tiny_parts import WORDS
from ti_trainer import Run, TrainConfig, train_all
from ti_trainer.method.initializers import DEFAULT_VECTORS


def test_what_lies_in_the_run_folder(finished_run: Run) -> None:
    found = {str(path.relative_to(finished_run.folder)) for path in finished_run.folder.rglob("*") if path.is_file()}
    steps = {f"checkpoints/step-{step:06d}.safetensors" for step in (0, 2, 4, 6, 8)}
    expected = {"config.yaml", "my-cat.safetensors", "diffusers/learned_embeds.safetensors", "metrics.jsonl"}
    pictures = {"loss.png", "before_after.png", "previews.png", "report.html", "my-cat.preview.png", "README.md"}
    drawn = {f"previews/step-{step:06d}-{column}.png" for step in (0, finished_run.best_step) for column in (1, 2, 3)}
    assert {name for name in found if not name.startswith("previews/")} - {".lock"} == expected | pictures | steps
    assert drawn <= found
    assert finished_run.folder.name == "my-cat"
    assert finished_run.embedding == finished_run.folder / "my-cat.safetensors"
    assert finished_run.embedding.stat().st_size < 8192
    assert (finished_run.folder / "checkpoints" / "step-000008.safetensors").stat().st_size < 8192
    plain = load_file(finished_run.folder / "my-cat.safetensors")
    other = load_file(finished_run.folder / "diffusers" / "learned_embeds.safetensors")
    assert list(plain) == ["emb_params"]
    assert list(other) == [TOKEN]
    assert plain["emb_params"].shape == (DEFAULT_VECTORS, 32)
    assert torch.equal(plain["emb_params"], other[TOKEN])
    for name in ("loss.png", "before_after.png"):
        with Image.open(finished_run.folder / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20  # something is drawn


def test_metrics(finished_run: Run) -> None:
    lines = [json.loads(line) for line in (finished_run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == finished_run.history
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["step"] for line in lines if "validation_loss" in line] == [4, 8]
    assert {line["lr"] for line in lines} == {0.015}
    first, last = (checkpoint(finished_run.folder, step)["rows.clip_l"] for step in (0, 8))
    cosine = torch.nn.functional.cosine_similarity(first, last).mean().item()
    assert lines[-1]["cosine_to_init"] == pytest.approx(cosine, rel=1e-5)
    assert all(later["seconds"] >= earlier["seconds"] for earlier, later in pairwise(lines))


def test_length_ratio_is_in_units_of_the_words_from_which_rows_start(
    finished_run: Run, model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    """Row 0 starts from "cat" itself, the others with noise."""
    pipeline = reference_pipeline(model)
    (cat,) = pipeline.tokenizer("cat", add_special_tokens=False).input_ids
    table = pipeline.text_encoder.get_input_embeddings().weight
    first, last = (checkpoint(finished_run.folder, step)["rows.clip_l"].norm(dim=1) for step in (0, 8))
    assert first[0].item() == pytest.approx(table[cat].norm().item(), rel=1e-6)
    assert finished_run.history[-1]["length_ratio"] == pytest.approx((last / first).mean().item(), rel=1e-5)
    assert abs(finished_run.history[-1]["length_ratio"] - 1) > 1e-3


def test_length_ratio_of_rows_that_start_from_no_word(
    make_config: Callable[..., TrainConfig], model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    """The random table's words are about equally long, and the yardstick is one of the two in their middle."""
    run = train_all([make_config(init="random", num_vectors=2, steps=1)])[0]
    pipeline = reference_pipeline(model)
    words = pipeline.tokenizer(" ".join(WORDS), add_special_tokens=False).input_ids
    lengths = pipeline.text_encoder.get_input_embeddings().weight[words].norm(dim=1).sort().values
    last = checkpoint(run.folder, 1)["rows.clip_l"].norm(dim=1).mean()
    middle = lengths[len(lengths) // 2 - 1 : len(lengths) // 2 + 2]
    candidates = [pytest.approx((last / length).item(), rel=1e-5) for length in middle]
    assert run.history[-1]["length_ratio"] in candidates


def test_files_of_several_concepts(make_two: MakeTwo) -> None:
    runs = train_all(make_two(steps=2, preview_every=1))
    output = runs[0].folder.parent
    for run, name, count in zip(runs, ("my-cat", "my-dog"), (2, 1), strict=True):
        assert run.folder == output / name
        assert run.embedding == run.folder / f"{name}.safetensors"
        assert exported(run).shape == (count, 32)
        drawn = [f"step-000001-{column}.png" for column in (1, 2, 3)]
        assert list(load_file(run.folder / "diffusers" / "learned_embeds.safetensors")) == [f"<{name}>"]
        assert sorted(path.name for path in (run.folder / "previews").glob("step-000001-*")) == drawn
        assert {line["token"] for line in run.history} == {f"<{name}>"}
        assert [line["step"] for line in run.history] == [1, 2]
