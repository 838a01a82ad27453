"""How good an embedding is: likeness to its pictures, faithfulness to prompts, attributes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..config.bundled import JUDGE, TINY_SD, resolve
from ..config.config import ModelConfig
from ..data.images import centre_square, read_image
from ..data.sources.folders import find_pictures
from ..embedding_files import read_embedding
from ..errors import BadInput
from ..families import Family, fastest_device, load_with_embeddings
from .judge import AttributeJudge, attribute_accuracy
from .previews import generate

SCENES = ("", "on grass", "in the snow", "at night", "on the beach", "at sunset")
# the scene that a judge of the bundled world should see for each of them; None: any
SCENE_LABELS = (None, "grass", "snow", "night", "beach", "sunset")


class ClipScorer:
    """CLIP-I and CLIP-T with any CLIP folder or hub id."""

    def __init__(self, source: str, device: torch.device | None = None) -> None:
        """source: a folder or hub id; device: by default the fastest of this machine. Raises BadInput."""
        from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

        source = resolve(source)
        self.device = device or fastest_device()
        try:
            self.model = CLIPModel.from_pretrained(source, dtype=torch.float32).eval().to(self.device)
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            self.processor = CLIPImageProcessorPil.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise BadInput(f"--clip {source} cannot be loaded: {str(error).splitlines()[0]}") from None

    @torch.no_grad()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """(B, P), of length 1."""
        pixels = self.processor(list(images), return_tensors="pt").pixel_values.to(self.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """(B, P), of length 1."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=77, return_tensors="pt").to(
            self.device
        )
        pooled = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)


def class_word(token: str) -> str:
    """The last word of a token: "<my-cat>" -> "cat"."""
    words = re.findall(r"[a-z]+", token)
    return words[-1] if words else token


def draw_in_scenes(
    family: Family, words: str, count: int, seed: int, steps: int = 20, guidance: float = 5.0
) -> tuple[list[str], list[str | None], list[Image.Image]]:
    """`count` pictures of "a photo of a WORDS" in each scene in turn: prompts, scenes asked for, pictures."""
    chosen = [i % len(SCENES) for i in range(count)]
    prompts = [f"a photo of a {words} {SCENES[i]}".strip() for i in chosen]
    return prompts, [SCENE_LABELS[i] for i in chosen], generate(family, prompts, seed, steps, guidance)


def evaluate(
    family: Family,
    token: str,
    references: Sequence[Image.Image],
    scorer: ClipScorer,
    judge: AttributeJudge | None = None,
    word: str | None = None,
    count: int = 32,
    seed: int = 0,
    steps: int = 20,
    guidance: float = 5.0,
) -> dict[str, Any]:
    """Draw `count` pictures of the token in several scenes and measure them.

    clip_i: mean cosine of every drawn with every reference picture; clip_t: of drawn pictures with their prompts, the
    class noun in place of the token (Gal et al. 2022, section 5). With a judge: for each attribute the share of
    pictures that show what most references show, and of pictures in the scene asked for.
    """
    prompts, scenes, images = draw_in_scenes(family, token, count, seed, steps, guidance)
    drawn, wanted = scorer.image_features(images), scorer.image_features(references)
    nouns = [prompt.replace(token, word or class_word(token)) for prompt in prompts]
    figures: dict[str, Any] = {
        "pictures": count,
        "clip_i": (drawn @ wanted.T).mean().item(),
        "clip_t": (drawn * scorer.text_features(nouns)).sum(1).mean().item(),
    }
    if judge:
        figures |= attribute_accuracy(judge(images), judge(references), scenes)
    return figures


def evaluate_file(
    embedding: str, images: str, model: ModelConfig, clip: str, judge: str | None, **how: Any
) -> dict[str, Any]:
    """`evaluate` for an embedding file; the judge of the bundled world is used with the bundled model."""
    found = read_embedding(embedding)
    family = load_with_embeddings(model, [found])
    size = family.spec.resolution
    references = [centre_square(read_image(found.picture), size) for found in find_pictures(resolve(images)).found]
    judge = judge or (JUDGE if model.model == TINY_SD else None)
    return evaluate(family, found.token, references, ClipScorer(clip), AttributeJudge(judge) if judge else None, **how)


def report_text(figures: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(figures)
    return "\n".join(
        f"{name:12} {value:.3f}" if isinstance(value, float) else f"{name:12} {value}"
        for name, value in figures.items()
    )
