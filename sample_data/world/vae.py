"""Stage `vae`: trains the autoencoder, and writes the latents of every picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from .pictures import as_tensor, load_pictures
from .settings import EDGE_WEIGHT, KL_WEIGHT, PICTURES, PLANS, VAE
from .training import DEVICE, Draws, fit


def edges(error: Tensor) -> Tensor:
    """The mean absolute difference between errors of neighbouring pixels, which is large where edges are blurred."""
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def train_vae(folder: Path) -> AutoencoderKL:
    """The trained autoencoder, with the scaling factor of its latents; also writes them to `folder`."""
    pictures = load_pictures(folder)
    plan = PLANS["vae"]
    torch.manual_seed(0)
    model = AutoencoderKL(**VAE)
    with torch.no_grad():  # small deviations at the start, because an untrained posterior's noise teaches nothing
        model.quant_conv.bias[VAE["latent_channels"] :] -= 5

    def loss(model: AutoencoderKL, draws: Draws, step: int) -> Tensor:
        pixels = as_tensor(pictures[draws.numpy.integers(0, PICTURES, plan.batch)]).to(DEVICE)
        posterior = model.encode(pixels).latent_dist
        latents = posterior.mean + posterior.std * draws.normal_like(posterior.mean)
        error = model.decode(latents).sample - pixels
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        return error.abs().mean() + error.square().mean() + EDGE_WEIGHT * edges(error) + KL_WEIGHT * divergence

    def evaluate(model: AutoencoderKL) -> dict[str, float]:
        return {"psnr_db": psnr(model, pictures[PICTURES : PICTURES + 128])}

    model = fit("vae", model, loss, plan, folder, evaluate)
    model.register_to_config(scaling_factor=1 / cache_latents(model, pictures, folder))
    return model


@torch.no_grad()
def psnr(model: AutoencoderKL, pictures: np.ndarray) -> float:
    """The peak signal-to-noise ratio, in dB, of reconstructions from posterior means."""
    errors = []
    for start in range(0, len(pictures), 64):
        pixels = as_tensor(pictures[start : start + 64]).to(DEVICE)
        error = model.decode(model.encode(pixels).latent_dist.mean).sample - pixels
        errors.append(error.square().mean((1, 2, 3)))
    return 10 * math.log10(4 / torch.cat(errors).mean().item())


@torch.no_grad()
def cache_latents(model: AutoencoderKL, pictures: np.ndarray, folder: Path) -> float:
    """Write posterior means and deviations, (N, 8, 16, 16), to `latents.npy`; returns the latents' deviation."""
    path = folder / "latents.npy"
    weights = folder / "vae.pt"
    if not path.exists() or path.stat().st_mtime < weights.stat().st_mtime:
        latents = np.empty((len(pictures), 8, 16, 16), np.float16)
        for start in tqdm(range(0, len(pictures), 64), desc="latents", mininterval=5):
            posterior = model.encode(as_tensor(pictures[start : start + 64]).to(DEVICE)).latent_dist
            latents[start : start + 64] = torch.cat([posterior.mean, posterior.std], 1).cpu().numpy()
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, latents)
        unfinished.replace(path)
    latents = np.load(path)
    mean = latents[:, :4].astype(np.float32)  # (N, 4, 16, 16)
    std = latents[:, 4:].astype(np.float32)
    return float(np.sqrt(mean.var() + np.square(std).mean()))
