"""Stable Diffusion 3: its loss written out, what it is without a T5, and the sizes of the published models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.drawing import draw_batch
from tests.families.full_size import clip_g, clip_l, millions, t5_xxl, vae_of_16_channels
from tests.tiny_parts import build_t5_tokenizer, build_tokenizer
from ti_trainer import ModelConfig, TrainConfig, load_into_pipeline
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.families import FAMILIES, load_family
from ti_trainer.method.weightings import get_weighting
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import load_model, prepare

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize("weighting", ["uniform", "min_snr", "debiased"])
def test_losses_written_out(
    tiny_models: dict[str, Path],
    make_config: Callable[..., TrainConfig],
    reference_pipeline: Callable[[Path], Any],
    tmp_path: Path,
    weighting: str,
) -> None:
    """Of each example, with the real pipeline's text, VAE and transformer, and with s in place of timesteps."""
    config = make_config(model=str(tiny_models["sd3"]))
    session = prepare(config, partial(load_model, config, CPU, torch.float32))
    batch = draw_batch(session.data, 0, 3, range(3), 3)
    with torch.no_grad():
        found = denoising_losses(session.family, batch, get_weighting(weighting))
    pipeline = reference_pipeline(tiny_models["sd3"])
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


def test_without_t5_its_part_is_zeros(tiny_models: dict[str, Path]) -> None:
    family = load_family(ModelConfig(model=str(tiny_models["sd35-without-t5"])), CPU, torch.float32)
    text = family.encode_text(["a photo of a cat", "a dog"])
    assert text.context.shape == (2, 77 + 256, 80)
    assert not text.context[:, 77:].any()
    assert text.context[:, :77, :72].any()
    assert [slot.name for slot in family.slots] == ["clip_l", "clip_g"]


# what tells the published transformers apart, with their parameters in millions
PUBLISHED: dict[str, tuple[dict[str, Any], float]] = {
    "stable-diffusion-3-medium": (
        {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192},
        2028.3,
    ),
    "stable-diffusion-3.5-medium": (
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": tuple(range(13)),
        },
        2243.2,
    ),
    "stable-diffusion-3.5-large": (
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
        8056.6,
    ),
}


@pytest.mark.parametrize("published", PUBLISHED)
def test_full_size_without_weights(published: str) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    changes, parameters = PUBLISHED[published]
    with META:
        transformer = SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            attention_head_dim=64,
            joint_attention_dim=4096,
            pooled_projection_dim=2048,
            **changes,
        )
        pipeline = StableDiffusion3Pipeline(
            transformer,
            FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae_of_16_channels(scaling_factor=1.5305, shift_factor=0.0609),
            clip_l(projects=True),
            build_tokenizer(),
            clip_g(),
            build_tokenizer(pad="!"),
            t5_xxl(),
            build_t5_tokenizer(),
        )
    family = FAMILIES["StableDiffusion3Pipeline"](pipeline, ModelConfig(), META, torch.float32, lambda: pipeline.vae)
    assert millions(transformer) == parameters
    assert [millions(slot.encoder) for slot in family.slots] == [123.7, 694.7, 4762.3]
    assert [(slot.name, slot.width) for slot in family.slots] == [("clip_l", 768), ("clip_g", 1280), ("t5xxl", 4096)]
    assert (family.spec.resolution, family.pixels_per_latent, family.spec.bucket_step) == (1024, 8, 16)
    family.placeholders.add("<my-cat>", {slot.name: torch.zeros(4, slot.width, device=META) for slot in family.slots})
    text = family.encode_text(["a <my-cat>", "a cat"])
    assert text.context.shape == (2, 77 + 256, 4096)
    assert text.pooled is not None
    assert text.pooled.shape == (2, 2048)
    latents = torch.zeros(2, 16, 128, 128, device=META)
    assert family.predict(latents, torch.zeros(2, device=META), text, torch.zeros(2, 6)).shape == latents.shape
    assert family.encode_images(torch.zeros(1, 3, 1024, 1024, device=META)).mean.shape == (1, 16, 128, 128)
