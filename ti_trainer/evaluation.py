"""How good an embedding is: likeness to its pictures, faithfulness to prompts, attributes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .bundled import JUDGE, TINY_SD, resolve
from .config import ModelConfig
from .data.images import centre_square, read_image, to_pixels
from .data.sources import find_pictures
from .embedding_files import Embedding, read_embedding
from .errors import BadInput
from .families import Family, load_family
from .previews import generate, grid, save_image

SCENES = ("", "on grass", "in the snow", "at night", "on the beach", "at sunset")
# the scene that a judge of the bundled world should see for each of them; None: any
SCENE_LABELS = (None, "grass", "snow", "night", "beach", "sunset")
DEFAULT_MODEL = ModelConfig()
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_with_embeddings(model: ModelConfig, embeddings: Sequence[Embedding]) -> Family:
    """The model with the rows of embedding files in their places; raises BadInput when a file does not fit."""
    family = load_family(model, DEVICE, torch.float16 if DEVICE.type == "cuda" else torch.float32)
    widths = {slot.name: slot.width for slot in family.slots}
    for embedding in embeddings:
        if embedding.token in family.placeholders.present:
            raise BadInput(f"two of the embedding files are called '{embedding.token}': draw them one at a time")
        family.placeholders.add(embedding.token, embedding.fit(widths))
    return family


def preview(
    embeddings: Sequence[str],
    prompt: Sequence[str],
    model: ModelConfig = DEFAULT_MODEL,
    output: str = "preview.png",
    seeds: int = 1,
    steps: int = 20,
    guidance: float = 5.0,
) -> Path:
    """Draw each prompt from each seed into one grid; returns its path."""
    family = load_with_embeddings(model, [read_embedding(path) for path in embeddings])
    rows = [(f"seed {seed}", generate(family, prompt, seed, steps, guidance)) for seed in range(seeds)]
    save_image(grid(rows, prompt), Path(output))
    return Path(output)


class ClipScorer:
    """CLIP-I and CLIP-T with any CLIP folder or hub id."""

    def __init__(self, source: str) -> None:
        from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

        source = resolve(source)
        try:
            self.model = CLIPModel.from_pretrained(source, dtype=torch.float32).eval().to(DEVICE)
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            self.processor = CLIPImageProcessorPil.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise BadInput(f"--clip {source} cannot be loaded: {str(error).splitlines()[0]}") from None

    @torch.no_grad()
    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """(B, P), of length 1."""
        pixels = self.processor(list(images), return_tensors="pt").pixel_values.to(DEVICE)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """(B, P), of length 1."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=77, return_tensors="pt").to(
            DEVICE
        )
        pooled = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)


class AttributeJudge:
    """An image classifier whose labels read "attribute:value", in groups of one attribute each."""

    def __init__(self, source: str) -> None:
        from transformers import AutoModelForImageClassification

        self.model = AutoModelForImageClassification.from_pretrained(resolve(source), dtype=torch.float32).eval()
        names = [self.model.config.id2label[i].partition(":") for i in range(self.model.config.num_labels)]
        self.groups: dict[str, list[tuple[int, str]]] = {}
        for index, (attribute, _, value) in enumerate(names):
            self.groups.setdefault(attribute, []).append((index, value))

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image]) -> list[dict[str, str]]:
        """The value of each attribute of each picture."""
        logits = self.model(pixel_values=torch.stack([to_pixels(image) for image in images])).logits
        answers: list[dict[str, str]] = [{} for _ in images]
        for attribute, members in self.groups.items():
            best = logits[:, [index for index, _ in members]].argmax(1).tolist()
            for answer, choice in zip(answers, best, strict=True):
                answer[attribute] = members[choice][1]
        return answers


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


# what belongs to a creature; the rest of what a judge sees belongs to the picture
IDENTITY = ("object", "colour", "pattern", "accent")


def attribute_accuracy(
    drawn: Sequence[dict[str, str]], references: Sequence[dict[str, str]], scenes: Sequence[str | None]
) -> dict[str, float]:
    """Shares of drawn pictures with the references' usual value of each attribute, their mean, and the scene's."""
    figures = {}
    for attribute in IDENTITY:
        seen = [reference[attribute] for reference in references]
        usual = max(set(seen), key=seen.count)
        figures[attribute] = sum(answer[attribute] == usual for answer in drawn) / len(drawn)
    figures["attributes"] = sum(figures.values()) / len(figures)
    asked = [(answer["scene"], scene) for answer, scene in zip(drawn, scenes, strict=True) if scene]
    figures["scene"] = sum(answer == scene for answer, scene in asked) / max(1, len(asked))
    return figures


def evaluate_file(
    embedding: str, images: str, model: ModelConfig, clip: str, judge: str | None, **how: Any
) -> dict[str, Any]:
    """`evaluate` for an embedding file; the judge of the bundled world is used with the bundled model."""
    found = read_embedding(embedding)
    family = load_with_embeddings(model, [found])
    size = family.resolution
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
