"""The lines at the end of a run: what they tell to write is run here, against a pipeline that never met the trainer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer import TrainConfig, load_into_pipeline, train
from ti_trainer.embedding_files import read_embedding
from ti_trainer.families import Family
from ti_trainer.reports.texts import ways_to_use
from ti_trainer.runs.folder import RunFolder


def rows_in(pipeline: Any, suffix: str, token: str, count: int) -> Tensor:
    """What a pipeline's text encoder has learned under a token, (n, D)."""
    tokenizer, encoder = getattr(pipeline, f"tokenizer{suffix}"), getattr(pipeline, f"text_encoder{suffix}")
    names = [token, *(f"{token}_{number}" for number in range(1, count))]
    return encoder.get_input_embeddings().weight.detach()[tokenizer.convert_tokens_to_ids(names)]


def told(output: str) -> list[str]:
    """The lines behind "diffusers:", without the margin."""
    lines = output.split("  diffusers:", 1)[1].splitlines()
    return [line.strip() for line in lines if line.strip()]


@pytest.mark.parametrize(("kind", "suffixes"), [("sd1", {"clip_l": ""}), ("sdxl-eps", {"clip_l": "", "clip_g": "_2"})])
def test_calls_load_the_rows(
    make_config: Callable[..., TrainConfig],
    tiny_models: dict[str, Path],
    reference_pipeline: Callable[[Path], Any],
    capfd: pytest.CaptureFixture[str],
    kind: str,
    suffixes: dict[str, str],
) -> None:
    model = tiny_models[kind]
    run = train(make_config(model=str(model), steps=2, validate_every=0, plots=False, num_vectors=2))
    captured = capfd.readouterr()
    calls = told(captured.out + captured.err)
    vectors = read_embedding(run.embedding).vectors
    assert vectors.keys() == suffixes.keys()

    loads = [line for line in calls if line.startswith("pipeline.load_textual_inversion")]
    assert len(loads) == len(suffixes)
    pipeline = reference_pipeline(model)
    for line in loads:
        exec(line, {"pipeline": pipeline})
    for slot, suffix in suffixes.items():
        assert torch.equal(rows_in(pipeline, suffix, "<my-cat>", 2), vectors[slot])

    at_once = [found[1] for line in calls if (found := re.search(r"ti_trainer\.(load_into_pipeline\(.*?\))", line))]
    assert len(at_once) == len(suffixes) - 1  # one call is enough where there is one text encoder
    for call in at_once:
        pipeline = reference_pipeline(model)
        assert eval(call, {"load_into_pipeline": load_into_pipeline, "pipeline": pipeline}) == "<my-cat>"
        assert all(torch.equal(rows_in(pipeline, suffix, "<my-cat>", 2), vectors[s]) for s, suffix in suffixes.items())
    assert any(line.startswith('pipeline(prompt="') and "<my-cat>" in line for line in calls)


def test_words_for_webuis(make_config: Callable[..., TrainConfig]) -> None:
    """A1111 takes the file's name, ComfyUI a prefix and InvokeAI brackets: their manuals' own syntax."""
    config = make_config(token="<my-dog2>")
    ways = dict(ways_to_use(config.concept, RunFolder(config), published()))
    assert ways["embedding"] == f"{config.output}/my-dog2/my-dog2.safetensors"
    assert ways["A1111, Forge"].endswith("write my-dog2 in the prompt")
    assert ways["ComfyUI"].endswith("write embedding:my-dog2 in the prompt, a space behind it")
    assert ways["InvokeAI"].endswith("write <my-dog2> in the prompt")


def test_words_for_negative_embeddings(make_config: Callable[..., TrainConfig]) -> None:
    config = make_config(token="<bad>", negative=True)
    ways = dict(ways_to_use(config.concept, RunFolder(config), published()))
    assert ways["A1111, Forge"].endswith("write bad in the negative prompt")
    assert ways["ComfyUI"].endswith("write embedding:bad in the negative prompt, a space behind it")
    assert ways["diffusers"].splitlines()[-1] == 'pipeline(prompt="...", negative_prompt="<bad>")'


def test_webuis_that_cannot_load_it_are_not_named(family: Family, make_config: Callable[..., TrainConfig]) -> None:
    """Rows are as wide as the model's words, and WebUIs have models with words of the published widths only."""
    config = make_config()
    programs = [program for program, _ in ways_to_use(config.concept, RunFolder(config), family)]
    assert programs == ["embedding", "WebUIs", "diffusers"]


def published() -> Any:
    """What is asked of the family of Stable Diffusion 1.x."""
    spec = SimpleNamespace(architecture="stable-diffusion-v1")
    slots = [SimpleNamespace(name="clip_l", width=768, suffix="")]
    return SimpleNamespace(slots=slots, spec=spec, loads_embeddings=True)
