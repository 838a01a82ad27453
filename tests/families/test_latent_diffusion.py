"""What the configs of the published U-Net models say, and the noise processes that are made of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler

from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import load_family
from ti_trainer.families.latent_diffusion import noise_schedule, override_scheduler
from ti_trainer.families.parts import Part
from ti_trainer.families.sd import StableDiffusion
from ti_trainer.families.sdxl import StableDiffusionXL

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
VAE = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4}
CLIP_L = {"hidden_act": "quick_gelu", "hidden_size": 768, "num_hidden_layers": 12}
CLIP_G = {"hidden_act": "gelu", "hidden_size": 1280, "num_hidden_layers": 32}
SD1 = {
    "unet": Part(
        "UNet2DConditionModel", {"sample_size": 64, "in_channels": 4, "block_out_channels": [320, 640, 1280, 1280]}
    ),
    "vae": Part("AutoencoderKL", VAE),
    "scheduler": Part("PNDMScheduler", {"prediction_type": "epsilon", **BETAS}),
    "text_encoder": Part("CLIPTextModel", CLIP_L),
}
SDXL = {
    **SD1,
    "unet": Part(
        "UNet2DConditionModel", {"sample_size": 128, "in_channels": 4, "block_out_channels": [320, 640, 1280]}
    ),
    "text_encoder_2": Part("CLIPTextModelWithProjection", CLIP_G),
}


def changed(parts: dict[str, Part], part: str, **changes: Any) -> dict[str, Part]:
    return {**parts, part: replace(parts[part], config={**parts[part].config, **changes})}


def test_published_models() -> None:
    """512 and 1024 pixels; sides that the U-Net can halve: multiples of 64, and of 32."""
    one, xl = StableDiffusion.spec_of(SD1, ModelConfig()), StableDiffusionXL.spec_of(SDXL, ModelConfig())
    assert (one.resolution, one.pixels_per_latent, one.latent_channels, one.bucket_step) == (512, 8, 4, 64)
    assert (xl.resolution, xl.pixels_per_latent, xl.latent_channels, xl.bucket_step) == (1024, 8, 4, 32)
    assert (one.architecture, xl.architecture) == ("stable-diffusion-v1", "stable-diffusion-xl-v1-base")
    assert [slot.width for slot in xl.slots] == [768, 1280]
    assert [slot.encoder_layer for slot in (*one.slots, *xl.slots)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"in_channels": 9}, "wants 9 channels and pictures have 4 latent ones: it is made for inpainting"),
        ("unet", {"in_channels": 8}, "wants 8 channels .* or editing"),
        ("vae", {"latents_mean": [0.0] * 4}, r"another noise process \(PNDMScheduler\)"),
        ("scheduler", {"prediction_type": "sample"}, "predicts 'sample'; known are epsilon, v_prediction"),
    ],
)
def test_models_for_something_else(part: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        StableDiffusion.spec_of(changed(SD1, part, **changes), ModelConfig())


def test_a_flow_is_another_process() -> None:
    parts = {**SD1, "scheduler": Part("FlowMatchEulerDiscreteScheduler", {"shift": 3.0})}
    with pytest.raises(BadInput, match=r"another noise process \(FlowMatchEulerDiscreteScheduler\)"):
        StableDiffusion.spec_of(parts, ModelConfig())


def test_the_user_may_say_what_an_odd_config_does_not() -> None:
    parts = changed(SD1, "scheduler", prediction_type="sample")
    spec = StableDiffusion.spec_of(parts, ModelConfig(prediction_type="epsilon"))
    assert spec == StableDiffusion.spec_of(SD1, ModelConfig())


@pytest.mark.parametrize("kind", [PNDMScheduler, EulerDiscreteScheduler, DDIMScheduler])
def test_the_schedule_is_ddpms_whatever_the_sampler(kind: Any) -> None:
    """Stable Diffusion's in numbers: 0.9991 of the picture's energy at the first timestep, 0.0047 at the last."""
    schedule = noise_schedule(SimpleNamespace(scheduler=kind(**BETAS)))  # type: ignore[arg-type]
    assert torch.equal(schedule.alphas_cumprod, DDPMScheduler(**BETAS).alphas_cumprod)
    assert schedule.alphas_cumprod[[0, -1]].tolist() == pytest.approx([1 - 0.00085, 0.00466], abs=2e-6)
    assert schedule.prediction_type == "epsilon"


@pytest.mark.parametrize(
    ("says", "wanted"),
    [
        ({}, ("epsilon", False, "leading")),
        ({"prediction_type": "v_prediction"}, ("v_prediction", False, "leading")),
        ({"zero_terminal_snr": True}, ("epsilon", True, "trailing")),
        ({"zero_terminal_snr": False}, ("epsilon", False, "leading")),
    ],
)
def test_what_the_user_says_about_the_noise(says: dict[str, Any], wanted: tuple[str, bool, str]) -> None:
    pipeline: Any = SimpleNamespace(scheduler=DDIMScheduler(timestep_spacing="leading", **BETAS))
    override_scheduler(pipeline, ModelConfig(**says))
    config = pipeline.scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr, config.timestep_spacing) == wanted
    schedule = noise_schedule(pipeline)
    assert (schedule.alphas_cumprod[-1] == 0) == wanted[1]


def test_the_sampler_draws_the_process_that_is_trained(tiny_models: dict[str, Path]) -> None:
    """A new one each time, with the user's changes."""
    config = ModelConfig(model=str(tiny_models["sdxl-eps"]), prediction_type="v_prediction", zero_terminal_snr=True)
    family = load_family(config, torch.device("cpu"), torch.float32)
    sampler = family.sampler()
    assert isinstance(sampler, DDIMScheduler)
    assert sampler is not family.sampler()
    assert sampler is not family.pipeline().scheduler
    assert sampler.config.prediction_type == "v_prediction"
    torch.testing.assert_close(sampler.alphas_cumprod, family.schedule.alphas_cumprod)  # type: ignore[attr-defined]
    sampler.set_timesteps(5)
    assert sampler.timesteps[0] == 999  # Lin et al. 2023: the first step of sampling is pure noise


def test_flags_on_a_model_whose_config_does_not_say_it(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """As the published SD 1.5's, in which there is no prediction type: diffusers takes it for a default."""
    folder = Path(shutil.copytree(tiny_models["sd1"], tmp_path / "model"))
    path = folder / "scheduler" / "scheduler_config.json"
    entries = json.loads(path.read_text())
    for silent in ("prediction_type", "rescale_betas_zero_snr", "timestep_spacing"):
        entries.pop(silent)
    path.write_text(json.dumps(entries))
    config = ModelConfig(model=str(folder), prediction_type="v_prediction", zero_terminal_snr=True)
    family = load_family(config, torch.device("cpu"), torch.float32)
    assert family.schedule.prediction_type == family.sampler().config.prediction_type == "v_prediction"
    assert family.schedule.snr(torch.tensor([999])) == 0
    assert family.sampler().config.timestep_spacing == "trailing"
    plain = load_family(ModelConfig(model=str(folder)), torch.device("cpu"), torch.float32)
    assert plain.schedule.prediction_type == "epsilon"
