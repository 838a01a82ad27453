"""How good an embedding is: likeness to its pictures, faithfulness to prompts, and attributes that a judge sees."""

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
from ..config.config import TrainConfig
from ..config.model import ModelConfig
from ..data.images import centre_square, read_image
from ..data.sources.folders import find_pictures
from ..embedding_files import read_embedding
from ..errors import BadInput
from ..families import Family, fastest_device, load_with_embeddings
from ..files.wording import flag
from .judge import AttributeJudge, attribute_accuracy
from .previews import generate

SCENES = ("", "on grass", "in the snow", "at night", "on the beach", "at sunset")
# For each of SCENES the scene that the judge of the bundled world should recognise; None: any.
SCENE_LABELS = (None, "grass", "snow", "night", "beach", "sunset")


class ClipScorer:
    """A CLIP model that gives features of pictures and texts, for CLIP-I and CLIP-T."""

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
            raise BadInput(f"{flag('clip', source)} cannot be loaded: {str(error).splitlines()[0]}") from None

    @torch.no_grad()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """The features of pictures, (B, P), each of length 1."""
        pixels = self.processor(list(images), return_tensors="pt").pixel_values.to(self.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """The features of texts, (B, P), each of length 1."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=77, return_tensors="pt")
        tokens = tokens.to(self.device)
        pooled = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)


def class_word(token: str) -> str:
    """The last word of a token: "<my-cat>" -> "cat"."""
    words = re.findall(r"[a-z]+", token)
    return words[-1] if words else token


def draw_in_scenes(
    family: Family,
    words: str,
    count: int,
    seed: int,
    steps: int = TrainConfig.preview_steps,
    guidance: float = TrainConfig.guidance,
) -> tuple[list[str], list[str | None], list[Image.Image]]:
    """Draw `count` pictures of "a photo of a WORDS", each in the next of SCENES.

    Returns the prompts, the scenes that are asked for (None: any), and the pictures.
    """
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
    steps: int = TrainConfig.preview_steps,
    guidance: float = TrainConfig.guidance,
) -> dict[str, Any]:
    """Draw `count` pictures of the token in several scenes and measure them.

    clip_i: the mean cosine between every drawn and every reference picture; clip_t: the mean cosine between each drawn
    picture and its prompt, in which a word for the class takes the place of the token (Gal et al. 2022, section 5).
    With a judge, also the shares of `attribute_accuracy`. word: the word for the class, by default the last of the
    token.
    """
    prompts, scenes, images = draw_in_scenes(family, token, count, seed, steps, guidance)
    drawn = scorer.image_features(images)
    wanted = scorer.image_features(references)
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
    """`evaluate` an embedding file on a model; with the bundled model, the default judge is the bundled one.

    images: the reference pictures; clip, judge: folders or hub ids; how: further arguments of `evaluate`. Raises
    BadInput when one of them cannot be loaded.
    """
    found = read_embedding(embedding)
    family = load_with_embeddings(model, [found])
    size = family.spec.resolution
    references = [centre_square(read_image(each.picture), size) for each in find_pictures(resolve(images)).found]
    judge = judge or (JUDGE if model.model == TINY_SD else None)
    return evaluate(family, found.token, references, ClipScorer(clip), AttributeJudge(judge) if judge else None, **how)


def report_text(figures: dict[str, Any], as_json: bool) -> str:
    """The figures as text for a person, or as JSON."""
    if as_json:
        return json.dumps(figures)
    return "\n".join(
        f"{name:12} {value:.3f}" if isinstance(value, float) else f"{name:12} {value}"
        for name, value in figures.items()
    )
