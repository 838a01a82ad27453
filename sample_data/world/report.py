"""Stage `report`: measures what the shipped models can do; writes `report.json`, tables and pictures."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from .assemble import SHIPPED, folder_bytes
from .attributes import Description, draw_description
from .captions import full_caption
from .clip import zero_shot
from .drawing import draw
from .pictures import as_tensor, description, real_picture
from .settings import GUIDANCE, PICTURES, PLANS, PROMPTS, SAMPLING_STEPS, SEED, VALIDATION
from .sheets import grid, held_out_sheet, world_sheet
from .steering import ASKED, QUESTIONS, accuracies, ask, generate, load_judge, load_pipeline
from .training import DEVICE
from .unet import Denoiser, validation_loss
from .vae import psnr


def report(out: Path) -> dict[str, Any]:
    """Measure the models in `out`; writes `report.json` and `pictures/` there, and the tables into its README.md."""
    pipeline = load_pipeline(out / "tiny-sd")
    judge = load_judge(out / "judge")
    rng = random.Random(f"{SEED} report")
    wanted = [draw_description(rng) for _ in range(PROMPTS)]
    prompts = [full_caption(seen) for seen in wanted]
    generated = generate(pipeline, prompts)
    validation = [description(PICTURES + i) for i in range(VALIDATION)]
    validation_pictures = [real_picture(PICTURES + i) for i in range(VALIDATION)]

    judged = {
        "generated": accuracies(ask(judge, generated), wanted),
        "real": accuracies(ask(judge, [draw(seen, rng) for seen in wanted]), wanted),
        "validation": accuracies(ask(judge, validation_pictures), validation),
    }
    steering = {question: {name: judged[name][question] for name in judged} for question in QUESTIONS}
    for question in set(QUESTIONS) - set(ASKED):
        del steering[question]["generated"]
    figures = {
        "steering": steering,
        "losses": losses(out, pipeline, validation_pictures, validation),
        "models": models(out),
        "bytes": {name: folder_bytes(out / name) for name in SHIPPED},
    }
    (out / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    (out / "pictures").mkdir(exist_ok=True)
    world_sheet().save(out / "pictures" / "world.png", optimize=True)
    held_out_sheet().save(out / "pictures" / "held-out.png", optimize=True)
    grid(generated[:40], 8, prompts[:40]).save(out / "pictures" / "prompts.png", optimize=True)
    write_section(out / "README.md", "report", tables(figures))
    print(tables(figures))
    return figures


@torch.no_grad()
def losses(
    out: Path, pipeline: StableDiffusionPipeline, pictures: list[Image.Image], truth: list[Description]
) -> dict[str, float]:
    """Figures of CLIP, VAE and U-Net on the validation pictures, each of what the model was trained for."""
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    clip = CLIPModel.from_pretrained(out / "tiny-clip", dtype=torch.float32).to(DEVICE).eval()
    named = zero_shot(clip, CLIPTokenizer.from_pretrained(out / "tiny-clip"), pixels, truth)
    vae = pipeline.vae
    denoiser = Denoiser(pipeline.unet, pipeline.text_encoder, pipeline.tokenizer, vae.config.scaling_factor)
    return {
        "clip_object": named["object"],
        "clip_colour": named["colour"],
        "vae_psnr_db": psnr(vae, pixels),
        "unet_noise_mse": validation_loss(denoiser, posteriors(vae, pixels)),
    }


def posteriors(vae: AutoencoderKL, pixels: np.ndarray) -> Tensor:
    """Means and deviations of the latents, (B, 8, 16, 16)."""
    parts = []
    for start in range(0, len(pixels), 50):
        posterior = vae.encode(as_tensor(pixels[start : start + 50]).to(DEVICE)).latent_dist
        parts.append(torch.cat([posterior.mean, posterior.std], 1))
    return torch.cat(parts)


def models(out: Path) -> dict[str, dict[str, Any]]:
    """Parameters, size and SHA-256 of every weight file, so that it is clear which weights the report is about."""
    described = {}
    for path in sorted(path for name in SHIPPED for path in (out / name).rglob("*.safetensors")):
        with safe_open(path, "pt") as file:
            parameters = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
        described[path.parent.relative_to(out).as_posix()] = {
            "parameters": parameters,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
    return described


def tables(figures: dict[str, Any]) -> str:
    """The figures as markdown."""
    columns = ("generated", "real", "validation")
    lines = [
        f"{PROMPTS} random prompts, DDIM {SAMPLING_STEPS} steps, guidance {GUIDANCE:g}. Share of pictures in which the",
        "judge sees what was asked for, beside its answers to real pictures of the same descriptions and to the",
        f"{VALIDATION:,} validation pictures:",
        "",
        "| | generated | real | real, validation |",
        "|---|---|---|---|",
    ]
    for question, shares in figures["steering"].items():
        cells = [f"{shares[name]:.3f}" if name in shares else "" for name in columns]
        lines.append(f"| {question} | {' | '.join(cells)} |")
    loss = figures["losses"]
    lines += [
        "",
        "| on the validation pictures | |",
        "|---|---|",
        f"| tiny-clip: object, zero-shot | {loss['clip_object']:.3f} |",
        f"| tiny-clip: colour, zero-shot | {loss['clip_colour']:.3f} |",
        f"| VAE: PSNR | {loss['vae_psnr_db']:.1f} dB |",
        f"| U-Net: mean squared error of the noise | {loss['unet_noise_mse']:.4f} |",
        "",
        "| weights | parameters | fp16 |",
        "|---|---|---|",
    ]
    for name, model in figures["models"].items():
        lines.append(f"| {name} | {model['parameters'] / 1e6:.2f} M | {model['bytes'] / 1e6:.2f} MB |")
    total = figures["bytes"]["tiny-sd"] + figures["bytes"]["tiny-clip"]
    lines += [f"| tiny-sd and tiny-clip, all files | | {total / 1e6:.2f} MB |", ""]
    lines += ["| stage | steps | batch | samples |", "|---|---|---|---|"]
    for name, plan in PLANS.items():
        lines.append(f"| {name} | {plan.steps:,} | {plan.batch} | {plan.steps * plan.batch:,} |")
    return "\n".join(lines) + "\n"


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a section that a program writes."""
    return f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"


def section(name: str, text: str) -> str:
    """A section of a model card, between its marks."""
    first, last = marks(name)
    return first + text + last


def write_section(card: Path, name: str, text: str) -> None:
    """Replace the text of section `name` of a model card, if the card exists and has such a section."""
    if card.exists():
        first, last = marks(name)
        before, _, rest = card.read_text().partition(first)
        _, found, after = rest.partition(last)
        if found:
            card.write_text(before + section(name, text) + after)
