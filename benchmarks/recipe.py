"""The common recipe of Textual Inversion scripts, with which the trainer is compared.

Every picture passes through the VAE in every step. AdamW gets the whole embedding table of the text encoder, with its
gradient, and after every step all rows but the new one are set back. Memory layouts, attention and loading are the
libraries' defaults.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from models import ROOT  # noqa: F401  (puts ti_trainer on the path)
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ti_trainer.data.captions import load_templates

TOKEN = "<my-cat>"
PARTS = {"": CLIPTextModel, "_2": CLIPTextModelWithProjection}  # suffix of a text encoder in the folder -> its class


class Pictures(Dataset[dict[str, Any]]):
    """Each picture as a square, mirrored with a chance of one half, with a caption drawn from templates."""

    def __init__(self, folder: Path, resolution: int, tokenizers: list[CLIPTokenizer]) -> None:
        self.paths = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg", ".jpeg"})
        self.resolution = resolution
        self.tokenizers = tokenizers
        self.templates = load_templates("object")

    def __len__(self) -> int:
        return 100 * len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = Image.open(self.paths[index % len(self.paths)]).convert("RGB")
        image = image.resize((self.resolution, self.resolution), Image.Resampling.BICUBIC)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)  # (3, h, w)
        caption = random.choice(self.templates).replace("{token}", TOKEN)
        ids = [
            tokenizer(caption, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids[0]
            for tokenizer in self.tokenizers
        ]
        return {"pixels": pixels, "ids": ids}


def condition(encoders: list[Any], ids: list[Tensor], resolution: int, dtype: torch.dtype) -> tuple[Tensor, Any]:
    """The context (B, 77, D), and for two encoders (SDXL) the U-Net's further conditions."""
    if len(encoders) == 1:
        return encoders[0](ids[0])[0].to(dtype), None
    outputs = [encoder(own, output_hidden_states=True) for encoder, own in zip(encoders, ids, strict=True)]
    context = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    sizes = torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]], device=context.device)
    added = {"text_embeds": outputs[-1].text_embeds.to(dtype), "time_ids": sizes.repeat(len(context), 1).to(dtype)}
    return context.to(dtype), added


def train(
    model: Path, images: Path, resolution: int, batch: int, dtype: torch.dtype, after_step: Callable[[], None]
) -> None:
    """Train without end; after_step is called after every step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    suffixes = [suffix for suffix in PARTS if (model / f"text_encoder{suffix}").exists()]
    tokenizers = [CLIPTokenizer.from_pretrained(model / f"tokenizer{suffix}") for suffix in suffixes]
    schedule = DDPMScheduler.from_pretrained(model / "scheduler")
    encoders = [PARTS[suffix].from_pretrained(model / f"text_encoder{suffix}").to(device) for suffix in suffixes]
    vae = AutoencoderKL.from_pretrained(model / "vae").to(device, dtype).requires_grad_(False)
    unet = UNet2DConditionModel.from_pretrained(model / "unet").to(device, dtype).requires_grad_(False)

    tables = []
    new = []  # index of the new row in each table
    for tokenizer, encoder in zip(tokenizers, encoders, strict=True):
        tokenizer.add_tokens(TOKEN)
        encoder.resize_token_embeddings(len(tokenizer))
        encoder.requires_grad_(False).train()
        table = encoder.get_input_embeddings().weight.requires_grad_()  # (V + 1, D)
        new.append(tokenizer.convert_tokens_to_ids(TOKEN))
        table.data[new[-1]] = table.data[tokenizer("cat", add_special_tokens=False).input_ids[0]]
        tables.append(table)
    optimizer = torch.optim.AdamW(tables, lr=5e-4, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    originals = [table.detach().clone() for table in tables]

    while True:
        for example in DataLoader(Pictures(images, resolution, tokenizers), batch_size=batch, shuffle=True):
            latents = vae.encode(example["pixels"].to(device, dtype)).latent_dist.sample().detach()
            latents = latents * vae.config.scaling_factor  # (B, 4, h, w)
            noise = torch.randn_like(latents)
            timesteps = torch.randint(schedule.config.num_train_timesteps, (len(latents),), device=device)
            noisy = schedule.add_noise(latents, noise, timesteps)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                ids = [own.to(device) for own in example["ids"]]
                context, added = condition(encoders, ids, resolution, dtype)
                prediction = unet(noisy, timesteps, context, added_cond_kwargs=added).sample
            loss = F.mse_loss(prediction.float(), noise.float())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for table, original, row in zip(tables, originals, new, strict=True):
                others = torch.ones(len(table), dtype=torch.bool)
                others[row] = False
                with torch.no_grad():
                    table[others] = original[others]
            loss.item()
            after_step()
