"""The loss of the toy family, written out; that no file of ti_trainer/ knows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import ti_trainer
from tests.drawing import draw_batch
from ti_trainer import BadInput, ModelConfig, TrainConfig, load_into_pipeline
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.families import load_family
from ti_trainer.method.weightings import get_weighting
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import load_model, prepare

CPU = torch.device("cpu")


@pytest.mark.parametrize("weighting", ["uniform", "min_snr", "debiased"])
def test_losses_written_out(
    tiny_models: dict[str, Path],
    make_config: Callable[..., TrainConfig],
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    weighting: str,
) -> None:
    """Of each example, with the real pipeline's text, VAE and transformer, and with s in place of timesteps."""
    config = make_config(model=str(tiny_models["toy"]))
    session = prepare(config, partial(load_model, config, CPU, torch.float32))
    batch = draw_batch(session.data, 0, 3, range(3), 3)
    with torch.no_grad():
        found = denoising_losses(session.family, batch, get_weighting(weighting))
    pipeline = reference_pipeline(tiny_models["toy"])
    rows = {slot: own.detach() for slot, own in session.rows.items()}
    (file,) = write_embedding(Embedding("<my-cat>", rows), tmp_path / "my-cat.safetensors", "webui")
    written = load_into_pipeline(pipeline, file)
    for number in range(3):
        one = slice(number, number + 1)
        sample = batch.posterior.mean[one] + batch.posterior.std[one] * batch.posterior_noise[one]
        latents = (sample - 0.06) * 1.5
        u = batch.timestep_draws[one]
        s = 3 * u / (1 + 2 * u)
        noisy = (1 - s) * latents + s * batch.noise[one]
        caption = batch.captions[number].replace("<my-cat>", written)
        with torch.no_grad():
            context, _, pooled, _ = pipeline.encode_prompt(caption, None, None, do_classifier_free_guidance=False)
            velocity = pipeline.transformer(noisy, context, pooled, 1000 * s).sample
        loss = (velocity - (batch.noise[one] - latents)).square().mean()
        snr = ((1 - s) / s) ** 2
        # an error of the velocity is 1 / s times that of the picture that follows from it
        weight = {"uniform": s**0, "min_snr": snr.clamp(max=5) * s**2, "debiased": snr.sqrt() * s**2}[weighting]
        torch.testing.assert_close(found[one], loss * weight, rtol=1e-4, atol=0)


@pytest.mark.parametrize("setting", [{"prediction_type": "epsilon"}, {"zero_terminal_snr": True}])
def test_settings_of_other_processes_are_refused(tiny_models: dict[str, Path], setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"{next(iter(setting))} is for Stable Diffusion 1"):
        load_family(ModelConfig(model=str(tiny_models["toy"]), **setting), CPU, torch.float32)


def test_nobody_knows_it() -> None:
    """No file of the package names its pipeline or transformer, or asks whether a model is of one family."""
    for path in Path(ti_trainer.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"StableDiffusion3|SD3Transformer|T5Encoder", source), path
        if path.parent.name not in ("families", "lean"):
            assert not re.search(r"\.unet\b|isinstance\(.*(famil|Diffusion)", source), path
