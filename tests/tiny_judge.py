"""A tiny random classifier of attributes, and what it sees, computed label by label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

LABELS = [
    *("object:cat", "object:dog", "colour:red", "pattern:plain", "pattern:spots", "colour:blue", "accent:hat"),
    *("scene:grass", "scene:snow", "accent:none", "scene:night", "scene:beach", "scene:sunset"),
]


def build_judge(folder: Path) -> Path:
    """A classifier whose labels lie in no order."""
    from transformers import RegNetConfig, RegNetForImageClassification

    torch.manual_seed(2)
    config = RegNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        groups_width=8,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    RegNetForImageClassification(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def labels_seen(judge_folder: Path, image: Image.Image) -> dict[str, str]:
    """The best label of each attribute, by a loop over all labels."""
    from transformers import RegNetForImageClassification

    model = RegNetForImageClassification.from_pretrained(judge_folder).eval()
    pixels = torch.tensor(np.asarray(image).tolist(), dtype=torch.float32).permute(2, 0, 1) / 127.5 - 1
    logits = model(pixel_values=pixels[None]).logits[0].tolist()
    best: dict[str, tuple[float, str]] = {}
    for label, logit in zip(LABELS, logits, strict=True):
        attribute, value = label.split(":")
        best[attribute] = max(best.get(attribute, (-1e9, "")), (logit, value))
    return {attribute: value for attribute, (_, value) in best.items()}
