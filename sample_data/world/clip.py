"""Stages `clip`, `clip-longer`: a text and an image tower, trained by contrast (Radford et al. 2021, section 2.3)."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from .attributes import COLOURS, OBJECTS, Description
from .pictures import as_tensor, caption, description, load_pictures
from .settings import IMAGE_TOWER, PICTURES, PLANS, TEXT_TOWER, VALIDATION
from .tokenizer import load_tokenizer
from .training import DEVICE, Draws, fit

LARGEST_SCALE = math.log(100)  # the limit of Radford et al. for the logarithm of the scale of logits
# A batch has so many groups of pictures with the same scene and colour, which differ only in the other attributes.
GROUPS = 8


def image_features(model: CLIPModel, pixels: Tensor) -> Tensor:
    """(B, 3, 64, 64) -> features of length 1, (B, 128)."""
    pooled = model.vision_model(pixel_values=pixels.to(DEVICE)).pooler_output
    return F.normalize(model.visual_projection(pooled), dim=-1)  # (B, 128)


def text_features(model: CLIPModel, tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """B captions -> features of length 1, (B, 128)."""
    ids = tokenizer(captions, padding=True, return_tensors="pt").input_ids.to(DEVICE)
    return F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=-1)  # (B, 128)


def train_clip(folder: Path) -> CLIPModel:
    """A new model, from whose text tower the U-Net's starts."""
    tokenizer = load_tokenizer(folder)
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = TEXT_TOWER | special | {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=IMAGE_TOWER, projection_dim=128))
    return contrast("clip", model, folder)


def train_longer(folder: Path) -> CLIPModel:
    """What `train_clip` left in `folder`, trained on: the U-Net has no use for more, whoever judges with it has."""
    return contrast("clip-longer", CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32), folder)


def contrast(stage: str, model: CLIPModel, folder: Path) -> CLIPModel:
    """`model`, trained by the plan of a stage; pictures and tokenizer come from `folder`, a checkpoint goes there."""
    pictures = load_pictures(folder)
    tokenizer = load_tokenizer(folder)
    plan = PLANS[stage]
    similar = defaultdict(list)
    for index in range(PICTURES):
        seen = description(index)
        similar[seen.scene, seen.colour].append(index)
    groups = [np.array(indices) for indices in similar.values()]

    def loss(model: CLIPModel, draws: Draws, step: int) -> Tensor:
        with torch.no_grad():
            model.logit_scale.clamp_(0, LARGEST_SCALE)
        chosen = draws.numpy.choice(len(groups), GROUPS, replace=False)
        size = plan.batch // GROUPS
        indices = np.concatenate([draws.numpy.choice(groups[g], size, replace=False) for g in chosen])
        images = image_features(model, as_tensor(pictures[indices]))
        texts = text_features(model, tokenizer, [caption(int(i), step) for i in indices])
        logits = model.logit_scale.exp() * images @ texts.T  # (B, B)
        own = torch.arange(plan.batch, device=DEVICE)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    def evaluate(model: CLIPModel) -> dict[str, float]:
        truth = [description(PICTURES + i) for i in range(VALIDATION)]
        return zero_shot(model, tokenizer, pictures[PICTURES:], truth)

    return fit(stage, model, loss, plan, folder, evaluate)


@torch.no_grad()
def zero_shot(
    model: CLIPModel, tokenizer: CLIPTokenizer, pictures: np.ndarray, truth: list[Description]
) -> dict[str, float]:
    """The share of pictures for which the nearest caption is the right one, by name of the attribute.

    "object": among "a photo of a OBJECT" of all objects; "colour": among "a photo of a COLOUR OBJECT" of all colours,
    with the right object.
    """
    images = image_features(model, as_tensor(pictures))
    objects = text_features(model, tokenizer, [f"a photo of a {o}" for o in OBJECTS])
    named = [OBJECTS[i] for i in (images @ objects.T).argmax(1).tolist()]
    pairs = text_features(model, tokenizer, [f"a photo of a {c} {o}" for o in OBJECTS for c in COLOURS])
    pairs = pairs.view(len(OBJECTS), len(COLOURS), -1)
    right = [
        list(COLOURS)[int((pairs[OBJECTS.index(d.object)] @ image).argmax())] == d.colour
        for d, image in zip(truth, images, strict=True)
    ]
    return {
        "object": float(np.mean([a == d.object for a, d in zip(named, truth, strict=True)])),
        "colour": float(np.mean(right)),
    }
