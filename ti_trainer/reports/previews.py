"""Pictures of what the rows have learned."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ..config.config import TrainConfig
from ..config.model import ModelConfig
from ..embedding_files import read_embedding
from ..families import Family, load_with_embeddings
from ..files.atomic import write_bytes
from ..method.randomness import generator

MOST_PICTURES = 16  # drawn at once
MOST_POSITIONS = 4 * 64 * 64  # of latents, in all pictures that are drawn at once

# what is drawn when nobody says otherwise; {token} is the concept's token
PROMPTS = {
    "object": (
        "a photo of a {token}",
        "a photo of a {token} on the beach",
        "a photo of a {token} in the snow",
        "a photo of a {token} at night",
        "a painting of a {token} on grass",
    ),
    "style": (
        "a house in the style of {token}",
        "a cat in the style of {token}",
        "a flower in the style of {token}",
        "a tree at night in the style of {token}",
        "a boat on the beach in the style of {token}",
    ),
}


# and where the token goes into the negative prompt
PLAIN_PROMPTS = (
    "a photo of a cat",
    "a photo of a house on the beach",
    "a photo of a flower in the snow",
    "a photo of a tree at night",
    "a painting of a boat on grass",
)


@contextmanager
def quiet(pipeline: object) -> Iterator[None]:
    """The pipeline without its own progress bars."""
    settings = dict(getattr(pipeline, "_progress_bar_config", {}))
    pipeline.set_progress_bar_config(disable=True)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        pipeline.set_progress_bar_config(**{"disable": False, **settings})  # type: ignore[attr-defined]


@torch.no_grad()
def generate(
    family: Family,
    prompts: Sequence[str],
    seed: int,
    steps: int,
    guidance: float,
    size: int | None = None,
    owner: str | None = None,
    negative: str = "",
) -> list[Image.Image]:
    """A picture for each prompt, drawn by the family's diffusers pipeline from our own conditioning.

    owner: the concept with whose rows prompts are read; None: with everybody's. negative: the negative prompt of all.
    Prompt strings are never given to the pipeline: it expands tokens by plain string replacement. Picture i starts from
    noise that depends on `seed` and i alone.
    """
    pipeline = family.pipeline()
    scheduler = pipeline.scheduler
    size = size or family.spec.resolution
    side = size // family.pixels_per_latent
    shape = (family.latent_channels, side, side)
    batch = max(1, min(MOST_PICTURES, MOST_POSITIONS // side**2))
    images: list[Image.Image] = []
    try:
        pipeline.scheduler = family.sampler()
        with quiet(pipeline):
            for start in range(0, len(prompts), batch):
                some = list(prompts[start : start + batch])
                noise = [torch.randn(shape, generator=generator(seed, "preview", start + i)) for i in range(len(some))]
                images += pipeline(
                    **family.prompt_arguments(some, owner, negative),
                    latents=family.noise_for_pipeline(torch.stack(noise).to(family.device, family.dtype)),
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    height=size,
                    width=size,
                ).images
    finally:
        pipeline.scheduler = scheduler
    return images


def preview(
    embeddings: Sequence[str],
    prompt: Sequence[str],
    model: ModelConfig | None = None,
    output: str = "preview.png",
    seeds: int = 1,
    steps: int = TrainConfig.preview_steps,
    guidance: float = TrainConfig.guidance,
    negative_prompt: str | None = None,
) -> Path:
    """Draw each prompt from each seed into one grid; returns its path.

    model: by default the bundled one; negative_prompt: by default the tokens of the embeddings that are for it.
    """
    found = [read_embedding(path) for path in embeddings]
    if negative_prompt is None:
        negative_prompt = ", ".join(each.token for each in found if each.is_negative)
    family = load_with_embeddings(model or ModelConfig(), found)
    rows = [
        (f"seed {seed}", generate(family, prompt, seed, steps, guidance, negative=negative_prompt))
        for seed in range(seeds)
    ]
    save_image(grid(rows, prompt), Path(output))
    return Path(output)


def grid(rows: Sequence[tuple[str, Sequence[Image.Image]]], captions: Sequence[str], cell: int = 160) -> Image.Image:
    """Rows of pictures with a title at the left of each row and a caption under each column.

    rows: title and pictures, as many pictures as there are captions; cell: pixels of a picture's side.
    """
    font = ImageFont.load_default(13)
    margin = 84  # pixels at the left, for titles
    line = 16  # pixels
    wrapped = [textwrap.wrap(caption, width=max(8, cell // 8)) for caption in captions]
    footer = line * max(map(len, wrapped)) + 10
    canvas = Image.new("RGB", (margin + len(captions) * (cell + 8), len(rows) * (cell + 8) + footer), "white")
    draw = ImageDraw.Draw(canvas)
    for r, (title, images) in enumerate(rows):
        top = r * (cell + 8) + 4
        draw.text((8, top + cell // 2), title, fill="black", font=font, anchor="lm")
        for c, image in enumerate(images):
            resample = Image.Resampling.NEAREST if image.width < cell else Image.Resampling.LANCZOS
            canvas.paste(image.resize((cell, cell), resample), (margin + c * (cell + 8), top))
    for c, lines in enumerate(wrapped):
        for k, text in enumerate(lines):
            where = (margin + c * (cell + 8), len(rows) * (cell + 8) + k * line)
            draw.text(where, text, fill="black", font=font)
    return canvas


def save_image(image: Image.Image, path: Path) -> None:
    """Write a PNG file, completely or not at all."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_bytes(buffer.getvalue(), path)
