"""Stage `judge`: a small classifier that tells every attribute of a picture; it is used for measuring only."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import RegNetConfig, RegNetForImageClassification

from .attributes import COLOURS, HELD_OUT, OBJECTS, PATTERNS, PLACES, SCENES, SIZES, Description, held_out_description
from .drawing import draw
from .pictures import as_tensor, description, load_pictures
from .settings import JUDGE, PICTURES, PLANS, SEED
from .training import DEVICE, Draws, fit

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "object": OBJECTS,
    "colour": tuple(COLOURS),
    "pattern": PATTERNS,
    "accent": ("none", *COLOURS),
    "scene": SCENES,
    "size": SIZES,
    "place": PLACES,
}
HELD_OUT_PICTURES = 3_000  # of held-out creatures, which the judge, unlike the model, has to know


def labels(seen: Description) -> list[int]:
    """The index of each attribute's value, in the order of ATTRIBUTES."""
    return [values.index(getattr(seen, name) or "none") for name, values in ATTRIBUTES.items()]


def split(logits: Tensor) -> list[Tensor]:
    """(B, all values) -> one (B, values) for each attribute."""
    return list(logits.split([len(values) for values in ATTRIBUTES.values()], dim=1))


def soften(pixels: Tensor, draws: Draws) -> Tensor:
    """Add noise and at times blur, because generated pictures are less sharp than drawn ones."""
    if draws.numpy.random() < 0.4:
        pixels = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return pixels + draws.normal_like(pixels) * 0.06 * draws.numpy.random()


def train_judge(folder: Path) -> RegNetForImageClassification:
    """The trained classifier; pictures come from `folder`, and its checkpoint goes there."""
    pictures = load_pictures(folder)
    plan = PLANS["judge"]
    names = [f"{attribute}:{value}" for attribute, values in ATTRIBUTES.items() for value in values]
    config = RegNetConfig(**JUDGE, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})
    torch.manual_seed(0)
    model = RegNetForImageClassification(config)
    rng = random.Random(f"{SEED} judge")
    held = [held_out_description(rng.choice(list(HELD_OUT)), rng.choice(SCENES), rng) for _ in range(HELD_OUT_PICTURES)]
    held_pictures = np.stack([np.asarray(draw(seen, rng)) for seen in held])
    truth = np.array([labels(description(i)) for i in range(len(pictures))])
    held_truth = np.array([labels(seen) for seen in held])

    def loss(model: RegNetForImageClassification, draws: Draws, step: int) -> Tensor:
        some = draws.numpy.integers(0, PICTURES, plan.batch - 8)
        rare = draws.numpy.integers(0, HELD_OUT_PICTURES, 8)
        pixels = as_tensor(np.concatenate([pictures[some], held_pictures[rare]])).to(DEVICE)
        wanted = torch.from_numpy(np.concatenate([truth[some], held_truth[rare]])).to(DEVICE)
        answers = split(model(pixel_values=soften(pixels, draws)).logits)
        return torch.stack([F.cross_entropy(a, wanted[:, k]) for k, a in enumerate(answers)]).sum()

    @torch.no_grad()
    def evaluate(model: RegNetForImageClassification) -> dict[str, float]:
        answers = split(model(pixel_values=as_tensor(pictures[PICTURES:]).to(DEVICE)).logits)
        chosen = np.stack([a.argmax(1).cpu().numpy() for a in answers], 1)  # (VALIDATION, attributes)
        return dict(zip(ATTRIBUTES, (chosen == truth[PICTURES:]).mean(0).tolist(), strict=True))

    return fit("judge", model, loss, plan, folder, evaluate)
