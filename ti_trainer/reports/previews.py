"""Pictures of what the rows have learned."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..config.config import TrainConfig
from ..config.model import ModelConfig
from ..embedding_files import read_embedding
from ..errors import BadInput
from ..families import Family, load_with_embeddings
from ..files.wording import flag, printable
from ..method.randomness import generator
from ..method.tokens import TOKEN_FIELD, fill, mentions
from .grids import grid, save_image
from .prompts import PLAIN_PROMPTS, PROMPTS, read_templates

MOST_PICTURES = 16  # drawn at once
MOST_POSITIONS = 4 * 64 * 64  # of latents, in all pictures that are drawn at once
COLUMNS = 3  # of our own prompts that a run is shown by

Size = tuple[int, int]  # width, height in pixels
Progress = Callable[[int], object]  # is told how many denoising steps of pictures are done since the last time


@dataclass(frozen=True)
class Drawing:
    """What is drawn of some rows, always from the same noise: each prompt from each seed."""

    prompts: tuple[str, ...]  # with the token in its place
    negative: str  # the negative prompt of all
    seeds: tuple[int, ...]
    size: Size
    steps: int
    guidance: float

    @property
    def columns(self) -> list[str]:
        """What each picture shows."""
        if len(self.seeds) == 1:
            return list(self.prompts)
        return [f"{prompt} (seed {seed})" for seed in self.seeds for prompt in self.prompts]

    @property
    def work(self) -> int:
        """Denoising steps of all pictures together."""
        return self.steps * len(self.seeds) * len(self.prompts)

    def pictures(self, family: Family, owner: str | None, progress: Progress) -> list[Image.Image]:
        """A picture for each column; owner: as in `generate`."""
        how = (self.steps, self.guidance, self.size, owner, self.negative, progress)
        return [image for seed in self.seeds for image in generate(family, self.prompts, seed, *how)]

    def told(self, column: int) -> dict[str, str]:
        """What the file of a picture says of it; column: from 0."""
        values = {
            "prompt": self.prompts[column % len(self.prompts)],
            "negative_prompt": self.negative,
            "seed": self.seeds[column // len(self.prompts)],
            "steps": self.steps,
            "guidance": self.guidance,
        }
        return {name: str(value) for name, value in values.items()}


def drawing_of_run(config: TrainConfig, resolution: int, unit: int) -> Drawing:
    """What a run's previews show; resolution: of its training pictures; unit: pixels for each latent.

    Raises BadInput for prompts that cannot be read, and for sides that the VAE cannot divide into latents.
    """
    concept = config.concept
    ours = PLAIN_PROMPTS if concept.negative else PROMPTS.get(concept.templates, PROMPTS["object"])
    templates = read_templates(config.prompts) or ours[:COLUMNS]
    negative = fill(config.negative_prompt, concept.token)
    if concept.negative and not mentions(negative, concept.token):
        negative = ", ".join(filter(None, (negative, concept.token)))
    return Drawing(
        prompts=tuple(fill(template, concept.token) for template in templates),
        negative=negative,
        seeds=tuple(range(config.seed, config.seed + config.preview_seeds)),
        size=checked_size(config.preview_width, config.preview_height, resolution, unit),
        steps=config.preview_steps,
        guidance=config.guidance,
    )


def checked_size(width: int | None, height: int | None, default: int, unit: int) -> Size:
    """Width and height; raises BadInput where one is no multiple of `unit` pixels."""
    for name, side in (("preview_width", width), ("preview_height", height)):
        if side is not None and side % unit:
            near = max(1, round(side / unit)) * unit
            raise BadInput(f"{flag(name)} is {side}; choose a multiple of {unit}, such as {near}")
    return width or default, height or default


@torch.no_grad()
def generate(
    family: Family,
    prompts: Sequence[str],
    seed: int,
    steps: int,
    guidance: float,
    size: Size | None = None,
    owner: str | None = None,
    negative: str = "",
    progress: Progress = lambda count: None,
) -> list[Image.Image]:
    """A picture for each prompt, drawn by the family's diffusers pipeline from our own conditioning.

    owner: the concept with whose rows prompts are read; None: with everybody's. negative: the negative prompt of all.
    Prompt strings are never given to the pipeline: it expands tokens by plain string replacement. Picture i starts from
    noise that depends on `seed` and i alone.
    """
    width, height = size or (family.spec.resolution, family.spec.resolution)
    unit = family.pixels_per_latent
    shape = (family.latent_channels, height // unit, width // unit)
    batch = max(1, min(MOST_PICTURES, MOST_POSITIONS // (shape[1] * shape[2])))
    images: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        some = list(prompts[start : start + batch])
        noise = torch.stack(
            [torch.randn(shape, generator=generator(seed, "preview", start + i)) for i in range(len(some))]
        )
        images += family.draw(some, noise, steps, guidance, owner, negative, partial(progress, len(some)))
    return images


def with_tokens(prompt: str, names: Mapping[str, str]) -> str:
    """A prompt with tokens where it calls embeddings as A1111 ("my-cat") and ComfyUI ("embedding:my-cat") do.

    names: of files, without suffix -> token. A name within a longer word or in brackets is left alone.
    """
    listed = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = rf"(?<![\w<:-])(?:embedding:)?({listed})(?![\w>-])"
    return re.sub(pattern, lambda found: names[found[1]], prompt)


def preview(
    embeddings: Sequence[str],
    prompts: Sequence[str],
    model: ModelConfig | None = None,
    output: str = "preview.png",
    negative_prompt: str | None = None,
    preview_seeds: int = TrainConfig.preview_seeds,
    preview_width: int | None = None,
    preview_height: int | None = None,
    preview_steps: int = TrainConfig.preview_steps,
    guidance: float = TrainConfig.guidance,
    seed: int = TrainConfig.seed,
) -> Path:
    """Draw each prompt from each seed into one grid; returns its path.

    prompts: as `read_templates` takes them, with {token} for the tokens of all embeddings that are not for the negative
    prompt, or with the tokens as WebUIs write them (see `with_tokens`); a note tells of those with none.
    negative_prompt: by default the tokens of those that are. model: by default the bundled one. Raises BadInput.
    """
    found = [read_embedding(path) for path in embeddings]
    tokens = " ".join(each.token for each in found if not each.is_negative)
    templates = read_templates(prompts)
    if not tokens and any(TOKEN_FIELD in template for template in templates):
        raise BadInput(f"there is no token to put in the place of {TOKEN_FIELD}: name an embedding file for the prompt")
    if negative_prompt is None:
        negative_prompt = ", ".join(each.token for each in found if each.is_negative)
    family = load_with_embeddings(model or ModelConfig(), found)
    size = checked_size(preview_width, preview_height, family.spec.resolution, family.pixels_per_latent)
    names = {Path(path).stem: each.token for path, each in zip(embeddings, found, strict=True)}
    names |= {each.stem: each.token for each in found}
    texts = [with_tokens(fill(template, tokens), names) for template in templates]
    for text in texts:
        if not any(mentions(text, each.token) for each in found):
            tqdm.write(f"note: '{printable(text)}' has no token; write {tokens or found[0].token}", file=sys.stderr)
    negative_prompt = with_tokens(negative_prompt, names)
    seeds = range(seed, seed + preview_seeds)
    with tqdm(total=len(texts) * len(seeds) * preview_steps, desc="drawing", leave=False, disable=None) as bar:
        how = (preview_steps, guidance, size, None, negative_prompt, bar.update)
        rows = [(f"seed {each}", generate(family, texts, each, *how)) for each in seeds]
    save_image(grid(rows, texts), Path(output))
    return Path(output)
