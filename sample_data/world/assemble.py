"""Stage `assemble`: writes the trained models into the folders that are shipped, in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPModel, RegNetForImageClassification
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from .drawing import SIZE
from .settings import MAX_BYTES, SCHEDULER
from .training import load_averaged
from .unet import untrained_denoiser

SHIPPED = ("tiny-sd", "tiny-clip", "judge")


def assemble(work: Path, out: Path) -> None:
    """Write SHIPPED to `out` from what the stages left in `work`; the U-Net may be unfinished (`unet.pt`).

    Raises SystemExit when tiny-sd and tiny-clip are larger than they may be.
    """
    clip = CLIPModel.from_pretrained(work / "clip", dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(work / "vae")
    judge = RegNetForImageClassification.from_pretrained(work / "judge")
    denoiser = load_averaged(untrained_denoiser(work, clip, vae.config.scaling_factor), work / "unet.pt")
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=denoiser.text_encoder.half(),
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet.half(),
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out / "tiny-sd")
    judging = CLIPModel.from_pretrained(work / "clip-longer", dtype=torch.float32)
    judging.half().save_pretrained(out / "tiny-clip")
    denoiser.tokenizer.save_pretrained(out / "tiny-clip")
    judge.half().save_pretrained(out / "judge")
    for folder in ("tiny-clip", "judge"):
        image_processor().save_pretrained(out / folder)
    # transformers loads weights in the type that the config names, diffusers in float32 whatever the file holds. The
    # text tower and the U-Net must have the same type to run together.
    for folder in ("tiny-sd/text_encoder", "tiny-clip", "judge"):
        edit_config(out / folder, dtype="float32")
    edit_config(out / "tiny-sd" / "vae", _name_or_path="")  # it would be a path of this machine

    sizes = {name: folder_bytes(out / name) for name in SHIPPED}
    print(*(f"{name}: {size / 1e6:.2f} MB" for name, size in sizes.items()), sep="\n")
    if sizes["tiny-sd"] + sizes["tiny-clip"] > MAX_BYTES:
        raise SystemExit(f"tiny-sd and tiny-clip together may have {MAX_BYTES / 1e6:.0f} MB; make a part smaller")


def image_processor() -> CLIPImageProcessorPil:
    """The processor that turns 64-pixel pictures into tensors in [-1, 1], as in the training of all models."""
    sides = {"height": SIZE, "width": SIZE}
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size=sides, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
    )


def edit_config(folder: Path, **changes: str) -> None:
    """Change entries of a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2) + "\n")


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
