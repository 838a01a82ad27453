"""Stage `unet`: trains denoiser and text tower together, as in latent diffusion (Rombach et al. 2022, section 3.3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from .pictures import caption
from .settings import GUIDANCE_DROPOUT, MIN_SNR_GAMMA, PICTURES, PLANS, SCHEDULER, UNET, VALIDATION
from .tokenizer import load_tokenizer
from .training import DEVICE, Draws, fit


class Denoiser(nn.Module):
    """The U-Net and the text tower that are trained, with the tokenizer and the scheduler for their inputs."""

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, scale: float
    ) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.scale = scale  # of the latents
        self.scheduler = DDIMScheduler(**SCHEDULER)

    def forward(self, noisy: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
        padded = self.tokenizer(captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        context = self.text_encoder(padded.input_ids.to(DEVICE)).last_hidden_state  # (B, 77, 128)
        return self.unet(noisy, timesteps, context).sample  # (B, 4, 16, 16)

    def squared_errors(self, posteriors: Tensor, captions: list[str], timesteps: Tensor, draws: Draws) -> Tensor:
        """The mean squared error of the predicted noise, (B,).

        posteriors: means and deviations of the latents, (B, 8, 16, 16); timesteps: (B,).
        """
        mean, std = posteriors.float().to(DEVICE).chunk(2, 1)  # (B, 4, 16, 16) each
        clean = (mean + std * draws.normal_like(mean)) * self.scale
        noise = draws.normal_like(clean)
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        return (self(noisy, timesteps, captions) - noise).square().mean((1, 2, 3))

    def random_timesteps(self, count: int, draws: Draws) -> Tensor:
        return torch.randint(0, len(self.scheduler.alphas_cumprod), (count,), generator=draws.torch).to(DEVICE)


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """A copy of CLIP's text tower, without the projection."""
    tower = CLIPTextModel(clip.config.text_config)
    tower.load_state_dict(clip.text_model.state_dict())
    return tower


def untrained_denoiser(folder: Path, clip: CLIPModel, scale: float) -> Denoiser:
    """A U-Net with random weights and CLIP's text tower; scale: of the latents."""
    torch.manual_seed(0)
    text_encoder = text_tower(clip)
    return Denoiser(UNet2DConditionModel(**UNET), text_encoder, load_tokenizer(folder), scale)


def train_denoiser(folder: Path, clip: CLIPModel, vae: AutoencoderKL) -> Denoiser:
    """The trained denoiser; latents and tokenizer come from `folder`, and its checkpoint goes there."""
    posteriors = torch.from_numpy(np.load(folder / "latents.npy"))
    plan = PLANS["unet"]
    model = untrained_denoiser(folder, clip, vae.config.scaling_factor)
    signal = model.scheduler.alphas_cumprod
    weights = (MIN_SNR_GAMMA * (1 - signal) / signal).clamp(max=1).to(DEVICE)  # min(snr, gamma) / snr

    def loss(model: Denoiser, draws: Draws, step: int) -> Tensor:
        indices = draws.numpy.integers(0, PICTURES, plan.batch)
        dropped = draws.numpy.random(plan.batch) < GUIDANCE_DROPOUT
        captions = ["" if drop else caption(int(i), step) for i, drop in zip(indices, dropped, strict=True)]
        t = model.random_timesteps(plan.batch, draws)
        return (model.squared_errors(posteriors[indices], captions, t, draws) * weights[t]).mean()

    def evaluate(model: Denoiser) -> dict[str, float]:
        return {"validation": validation_loss(model, posteriors[PICTURES:])}

    return fit("unet", model, loss, plan, folder, evaluate)


@torch.no_grad()
def validation_loss(model: Denoiser, posteriors: Tensor) -> float:
    """The mean error over the validation pictures, always with the same noise, timesteps and captions."""
    draws = Draws("unet validation", 0)
    errors = []
    for start in range(0, VALIDATION, 125):
        captions = [caption(PICTURES + i, -1) for i in range(start, start + 125)]
        t = model.random_timesteps(125, draws)
        errors.append(model.squared_errors(posteriors[start : start + 125], captions, t, draws))
    return torch.cat(errors).mean().item()
