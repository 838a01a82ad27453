"""What all families do with their pipeline, on each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families.inputs import inputs, load
from tests.tiny_models import TINY_MODELS
from ti_trainer import ModelConfig
from ti_trainer.data.latent_cache import content_hash
from ti_trainer.families import load_family
from ti_trainer.families.frozen_pipeline import autoencoder_facts
from ti_trainer.families.parts import Part

TOKEN = "<my-cat>"


@pytest.mark.parametrize(("blocks", "pixels"), [([128, 256, 512, 512], 8), ([64, 64], 2), ([8], 1)])
def test_pixels_of_a_latent(blocks: list[int], pixels: int) -> None:
    vae = Part("AutoencoderKL", {"block_out_channels": blocks, "latent_channels": 16})
    assert autoencoder_facts({"vae": vae}) == (pixels, 16)


def test_nothing_is_trained(any_model: Path) -> None:
    """Every weight is frozen and every module reads, as in the real pipeline after loading."""
    family: Any = load(any_model)
    for module in (family.denoiser, family.bring_vae(), *(slot.encoder for slot in family.slots)):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_fingerprints_tell_denoisers_apart(any_model: Path) -> None:
    """The same for the same weights, another where one number of one tensor is; the VAE's does not look at it."""
    one, same, other = load(any_model), load(any_model), load(any_model)
    with torch.no_grad():
        next(iter(other.denoiser.parameters())).view(-1)[0] += 1e-3
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.vae_hash == other.vae_hash == content_hash(one.bring_vae().state_dict())


def test_latents_of_a_sample(any_model: Path) -> None:
    """What a pipeline does before it decodes leads back to it."""
    family: Any = load(any_model)
    sample = torch.randn(2, family.latent_channels, 4, 6, generator=torch.Generator().manual_seed(0))
    back = TINY_MODELS[any_model.name].denorm(family.bring_vae(), family.to_latents(sample))
    torch.testing.assert_close(back, TINY_MODELS[any_model.name].frames(sample))
    assert not torch.equal(family.to_latents(sample), sample)


def test_prompts_are_those_of_encode_text(any_model: Path) -> None:
    """With the rows of one concept or of all; one negative prompt for each."""
    family: Any = load(any_model)
    rounding = TINY_MODELS[any_model.name].rounding
    draws = torch.Generator().manual_seed(0)
    for owner in ("one", "other"):
        rows = {slot.name: torch.randn(1, slot.width, generator=draws) * slot.table.std() for slot in family.slots}
        family.placeholders.add(TOKEN, rows, owner)
    prompts = [f"a {TOKEN} in the snow", "a dog"]
    with torch.no_grad():
        for owner in ("one", "other"):
            found = family.prompt_arguments(prompts, owner)
            wanted = family.encode_text(prompts, [owner] * 2)
            torch.testing.assert_close(found["prompt_embeds"], wanted.context, rtol=1e-5, atol=rounding)
            assert found["negative_prompt_embeds"].shape == wanted.context.shape
            if wanted.pooled is not None:
                torch.testing.assert_close(found["pooled_prompt_embeds"], wanted.pooled, rtol=1e-5, atol=rounding)
            unwanted = family.prompt_arguments(prompts, owner, f"a {TOKEN}")
            wanted = family.encode_text([f"a {TOKEN}"] * 2, [owner] * 2)
            torch.testing.assert_close(unwanted["prompt_embeds"], found["prompt_embeds"], rtol=1e-5, atol=rounding)
            torch.testing.assert_close(unwanted["negative_prompt_embeds"], wanted.context, rtol=1e-5, atol=rounding)
            if wanted.pooled is not None:
                torch.testing.assert_close(
                    unwanted["negative_pooled_prompt_embeds"], wanted.pooled, rtol=1e-5, atol=1e-6
                )
        first, second = (family.prompt_arguments(prompts, owner)["prompt_embeds"] for owner in ("one", "other"))
    assert (first[0] - second[0]).abs().max() > 1e-2
    torch.testing.assert_close(first[1], second[1], rtol=1e-5, atol=rounding)


def test_predictions_are_the_real_denoisers(any_model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    """Against the pipeline itself: two steps of its sampler, with our noise and text and without guidance."""
    family: Any = load(any_model)
    pipeline, sampler = reference_pipeline(any_model), family.sampler()
    noisy, _, text, _ = inputs(family, 1)
    unpack = TINY_MODELS[any_model.name].unpack
    seen: list[torch.Tensor] = []
    step = sampler.step

    def note(prediction: torch.Tensor, timestep: Any, sample: torch.Tensor, **how: Any) -> Any:
        seen.append(prediction)
        sizes = torch.tensor([[32.0, 32, 0, 0, 32, 32]])  # what SDXL's pipeline says of its own pictures
        ours = family.predict(unpack(sample), torch.as_tensor(timestep)[None], text, sizes)
        torch.testing.assert_close(ours, unpack(prediction), rtol=1e-4, atol=1e-5)
        return step(prediction, timestep, sample, **how)

    sampler.step = note
    pipeline.scheduler = sampler
    arguments = family.name_arguments(text, text)
    with torch.no_grad():
        TINY_MODELS[any_model.name].denoise(pipeline, arguments, family.noise_for_pipeline(noisy), 2)
    assert len(seen) == 2


def test_a_vae_that_was_put_away_comes_back_for_the_pipeline(any_model: Path) -> None:
    family: Any = load(any_model)
    weights = content_hash(family.bring_vae().state_dict())
    family.put_away_vae()
    assert family.pipeline().vae is family.bring_vae()
    assert content_hash(family.bring_vae().state_dict()) == weights


@pytest.mark.parametrize("asked", [None, True])
def test_checkpointing_may_be_asked_for(any_model: Path, asked: bool | None) -> None:
    config = ModelConfig(model=str(any_model), gradient_checkpointing=asked)
    family = load_family(config, torch.device("cpu"), torch.float32)
    assert family.denoiser.is_gradient_checkpointing is bool(asked)
    family.checkpoint_activations()
    assert family.denoiser.is_gradient_checkpointing
