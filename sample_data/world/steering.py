"""Measuring whether pictures from prompts show what was asked for, with the judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tqdm import tqdm
from transformers import RegNetForImageClassification

from .attributes import Description
from .judge import ATTRIBUTES, split
from .pictures import as_tensor
from .settings import GUIDANCE, SAMPLING_STEPS
from .training import DEVICE

BATCH = 32

# For each figure the attribute that is compared, and which pictures are counted.
QUESTIONS: dict[str, tuple[str, Callable[[Description], bool]]] = {
    "object": ("object", lambda wanted: True),
    "colour": ("colour", lambda wanted: True),
    "scene": ("scene", lambda wanted: True),
    "pattern": ("pattern", lambda wanted: True),
    "pattern, not plain": ("pattern", lambda wanted: wanted.pattern != "plain"),
    "accent, where there is one": ("accent", lambda wanted: wanted.accent is not None),
    # Full captions do not mention these, so they are compared for real pictures only.
    "accent or none": ("accent", lambda wanted: True),
    "size": ("size", lambda wanted: True),
    "place": ("place", lambda wanted: True),
}
ASKED = list(QUESTIONS)[:6]  # those that full captions mention


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder).to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seed: int = 0,
    steps: int = SAMPLING_STEPS,
    guidance: float = GUIDANCE,
) -> list[Image.Image]:
    """A picture for each prompt; its noise depends only on `seed` and on the prompt's number."""
    pictures = []
    for start in tqdm(range(0, len(prompts), BATCH), desc="pictures from prompts", mininterval=2):
        batch = list(prompts[start : start + BATCH])
        noises = [torch.Generator().manual_seed(100_000 * seed + start + i) for i in range(len(batch))]
        pictures += pipeline(batch, num_inference_steps=steps, guidance_scale=guidance, generator=noises).images
    return pictures


def load_judge(folder: Path) -> RegNetForImageClassification:
    return RegNetForImageClassification.from_pretrained(folder, dtype=torch.float32).to(DEVICE).eval()


@torch.no_grad()
def ask(judge: RegNetForImageClassification, pictures: Sequence[Image.Image]) -> list[dict[str, str]]:
    """The value of each attribute that the judge sees in each picture; an accent may be "none"."""
    answers = []
    for start in range(0, len(pictures), 250):
        pixels = as_tensor(np.stack([np.asarray(picture) for picture in pictures[start : start + 250]]))
        choices = [logits.argmax(1).tolist() for logits in split(judge(pixel_values=pixels.to(DEVICE)).logits)]
        for chosen in zip(*choices, strict=True):
            answers.append({name: ATTRIBUTES[name][i] for name, i in zip(ATTRIBUTES, chosen, strict=True)})
    return answers


def accuracies(answers: Sequence[dict[str, str]], truth: Sequence[Description]) -> dict[str, float]:
    """The share of right answers to each of QUESTIONS; NaN for a question that concerns none of `truth`."""
    shares = {}
    for question, (attribute, concerns) in QUESTIONS.items():
        pairs = [(a, wanted) for a, wanted in zip(answers, truth, strict=True) if concerns(wanted)]
        right = [a[attribute] == (getattr(wanted, attribute) or "none") for a, wanted in pairs]
        shares[question] = sum(right) / len(right) if right else float("nan")
    return shares
