"""Stage `flow`: trains a transformer for a flow and its text encoder, from the VAE of the bundled model.

It is what Chroma is in small, and is not shipped: `python -m sample_data.world flow`, and `tiny-flow`, which writes a
`ChromaPipeline` folder. Flows with other text encoders read 256 tokens and more for each of these captions' ten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from tqdm import tqdm
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from .pictures import as_tensor, caption, load_pictures
from .settings import (
    CAPTIONS_FOR_TOKENIZER,
    EXTRA_WORDS,
    FLOW,
    FLOW_PLAN,
    FLOW_TEXT,
    GUIDANCE_DROPOUT,
    PICTURES,
    VALIDATION,
)
from .training import DEVICE, Draws, fit, load_averaged

TINY_FLOW = "tiny-flow"
SPACE = "\u2581"  # what stands for the space before a word


def build_t5_tokenizer() -> T5Tokenizer:
    """A tokenizer like T5's, to which each word of the captions and of EXTRA_WORDS is one token; others are letters."""
    words = {word for index in range(CAPTIONS_FOR_TOKENIZER) for word in caption(index, 0).replace(",", " ,").split()}
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (SPACE, -2.0)]
    pieces += [(SPACE + word, -1.0) for word in sorted(words | set(EXTRA_WORDS))]
    pieces += [(chr(code), -8.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


class Flow(nn.Module):
    """The transformer and the text encoder that are trained, with the tokenizer for their inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokenizer = build_t5_tokenizer()
        self.text_encoder = T5EncoderModel(T5Config(vocab_size=len(self.tokenizer), **FLOW_TEXT))
        self.transformer = ChromaTransformer2DModel(**FLOW)

    def forward(self, noisy: Tensor, levels: Tensor, captions: list[str]) -> Tensor:
        """Latents (B, 4, 16, 16), noise levels (B,) from 0 to 1 -> the velocity, (B, 4, 16, 16)."""
        plain = self.tokenizer(captions)
        longest = max(map(len, plain.input_ids)) + 1  # the longest has a token of padding, too
        read = self.tokenizer.pad(plain, padding="max_length", max_length=longest, return_tensors="pt").to(DEVICE)
        context = self.text_encoder(read.input_ids, attention_mask=read.attention_mask).last_hidden_state  # (B, L, D)
        seen = nn.functional.pad(read.attention_mask.bool(), (1, 0), value=True)[:, :-1]  # and one token of padding
        patches = noisy.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        rows = torch.arange(8, device=DEVICE)
        places = torch.stack([torch.zeros(64, device=DEVICE), rows.repeat_interleave(8), rows.repeat(8)], dim=1)
        velocity = self.transformer(
            hidden_states=patches,  # (B, 64, 16)
            timestep=levels,
            encoder_hidden_states=context,
            txt_ids=places.new_zeros(context.shape[1], 3),
            img_ids=places,
            attention_mask=nn.functional.pad(seen, (0, 64), value=True),
        ).sample
        return velocity.unflatten(2, (-1, 2, 2)).unflatten(1, (8, 8)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)

    def squared_errors(self, posteriors: Tensor, captions: list[str], levels: Tensor, draws: Draws) -> Tensor:
        """The mean squared error of the velocity, (B,); posteriors: as in `latents_of`, (B, 8, 16, 16)."""
        mean, std = posteriors.float().to(DEVICE).chunk(2, 1)  # (B, 4, 16, 16) each
        clean = mean + std * draws.normal_like(mean)
        noise = draws.normal_like(clean)
        level = levels[:, None, None, None]
        return (self((1 - level) * clean + level * noise, levels, captions) - (noise - clean)).square().mean((1, 2, 3))


def random_levels(count: int, draws: Draws) -> Tensor:
    """Noise levels of a logit-normal density (Esser et al. 2024, equation 19), (count,)."""
    return torch.randn(count, generator=draws.torch).sigmoid().to(DEVICE)


@torch.no_grad()
def latents_of(folder: Path, vae: AutoencoderKL) -> Tensor:
    """Scaled posterior means and deviations of every picture, (N, 8, 16, 16) float16; written at the first call."""
    path = folder / "flow-latents.npy"
    if not path.exists():
        pictures = load_pictures(folder)
        latents = np.empty((len(pictures), 8, 16, 16), np.float16)
        for start in tqdm(range(0, len(pictures), 64), desc="latents", mininterval=5):
            posterior = vae.encode(as_tensor(pictures[start : start + 64]).to(DEVICE)).latent_dist
            both = torch.cat([posterior.mean, posterior.std], 1) * vae.config.scaling_factor
            latents[start : start + 64] = both.cpu().numpy()
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, latents)
        unfinished.replace(path)
    return torch.from_numpy(np.load(path))


def train_flow(work: Path, out: Path) -> None:
    """Train on the latents of `out/tiny-sd`'s VAE; the checkpoint goes to `work`."""
    posteriors = latents_of(work, AutoencoderKL.from_pretrained(out / "tiny-sd" / "vae", dtype=torch.float32).eval())
    plan = FLOW_PLAN

    def loss(model: Flow, draws: Draws, step: int) -> Tensor:
        indices = draws.numpy.integers(0, PICTURES, plan.batch)
        dropped = draws.numpy.random(plan.batch) < GUIDANCE_DROPOUT
        captions = ["" if drop else caption(int(i), step) for i, drop in zip(indices, dropped, strict=True)]
        return model.squared_errors(posteriors[indices], captions, random_levels(plan.batch, draws), draws).mean()

    @torch.no_grad()
    def evaluate(model: Flow) -> dict[str, float]:
        draws = Draws("flow validation", 0)
        errors = []
        for start in range(0, VALIDATION, 125):
            captions = [caption(PICTURES + i, -1) for i in range(start, start + 125)]
            own = posteriors[PICTURES + start : PICTURES + start + 125]
            errors.append(model.squared_errors(own, captions, random_levels(125, draws), draws))
        return {"validation": torch.cat(errors).mean().item()}

    fit("flow", Flow(), loss, plan, work, evaluate)


def write_flow(work: Path, out: Path) -> None:
    """Write a ChromaPipeline folder to `work`, from a checkpoint that may be unfinished."""
    model = load_averaged(Flow(), work / "flow.pt")
    vae = AutoencoderKL.from_pretrained(out / "tiny-sd" / "vae", dtype=torch.float32)
    vae.register_to_config(shift_factor=0.0, _name_or_path="")
    ChromaPipeline(
        transformer=model.transformer,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
    ).save_pretrained(work / TINY_FLOW)
