"""Training on a pipeline that is loaded already: the same rows, and the pipeline stays as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.running import MakeConfig, exported
from ti_trainer import BadInput, train
from ti_trainer.embedding_files import read_embedding
from ti_trainer.families.borrowing import borrow
from ti_trainer.training.console import Silence

Fresh = Callable[[Path], Any]


def state_of(pipeline: Any) -> dict[str, Any]:
    """Everything that training might have changed of a pipeline."""
    found: dict[str, Any] = {"config": dict(pipeline.config)}
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            found[name] = (
                part.training,
                part.dtype,
                [(key, type(module).__name__, module.training) for key, module in part.named_modules()],
                [(key, weight.requires_grad, weight.grad) for key, weight in part.named_parameters()],
                hashlib.sha256(b"".join(t.numpy().tobytes() for t in part.state_dict().values())).hexdigest(),
                dict(part.config) if hasattr(part.config, "keys") else part.config.to_dict(),
            )
        elif hasattr(part, "get_vocab"):
            found[name] = (len(part), sorted(part.get_vocab()))
        elif part is not None:
            found[name] = (id(part), dict(part.config))
    return found


def test_rows_are_those_of_the_model_in_its_folder(
    any_model: Path, make_config: MakeConfig, reference_pipeline: Fresh
) -> None:
    """With previews, a flip and gradient checkpointing: all that changes a model."""
    config = make_config(model=str(any_model), steps=4, preview_every=2, flip=True, gradient_checkpointing=True)
    wanted = train(replace(config, name="from-the-folder"), console=Silence())
    pipeline = reference_pipeline(any_model)
    before = state_of(pipeline)
    found = train(config, pipeline=pipeline, console=Silence())
    assert state_of(pipeline) == before
    assert found.best_step == wanted.best_step
    rows, others = (read_embedding(run.embedding).vectors for run in (found, wanted))
    assert rows.keys() == others.keys()
    assert all(torch.equal(rows[slot], others[slot]) for slot in rows)
    losses = [[line["loss"] for line in run.history] for run in (found, wanted)]
    assert losses[0] == losses[1]


def test_file_and_config_name_the_pipelines_model(
    model: Path, make_config: MakeConfig, reference_pipeline: Fresh
) -> None:
    """Whatever the config says: the folder that the pipeline was loaded from; training goes on from there."""
    run = train(make_config(model="nowhere", steps=2), pipeline=reference_pipeline(model), console=Silence())
    assert read_embedding(run.embedding).metadata["ti_trainer.base_model"] == model.name
    assert f"model: {model}\n" in (Path(run.folder) / "config.yaml").read_text(encoding="utf-8")
    again = train(replace(make_config(model=str(model), steps=3), resume=True), console=Silence())
    assert [line["step"] for line in again.history] == [1, 2, 3]


def test_what_was_changed_in_the_pipeline_is_what_is_trained_on(
    model: Path, make_config: MakeConfig, reference_pipeline: Fresh
) -> None:
    pipeline = reference_pipeline(model)
    config = make_config(model=str(model), steps=2, validate_every=0)
    plain = train(replace(config, name="plain"), console=Silence())
    with torch.no_grad():
        pipeline.unet.conv_in.weight.mul_(1.5)
    changed = train(config, pipeline=pipeline, console=Silence())
    assert not torch.equal(exported(plain), exported(changed))


def test_weights_lie_in_the_same_memory(model: Path, reference_pipeline: Fresh) -> None:
    pipeline = reference_pipeline(model)
    twin = borrow(pipeline)
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = (dict(getattr(each, name).named_parameters()) for each in (twin, pipeline))
        assert ours.keys() == theirs.keys()
        assert all(ours[key].data_ptr() == theirs[key].data_ptr() for key in ours)
        assert not any(weight.requires_grad for weight in ours.values())
    twin.unet.to(torch.float64)
    assert pipeline.unet.dtype == torch.float32


def test_a_pipeline_of_no_family(model: Path, make_config: MakeConfig, reference_pipeline: Fresh) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    pipeline = StableDiffusionImg2ImgPipeline(**reference_pipeline(model).components, requires_safety_checker=False)
    with pytest.raises(BadInput, match="StableDiffusionImg2ImgPipeline, for which there is no family"):
        train(make_config(), pipeline=pipeline, console=Silence())
