"""Attributes of pictures, recognised by an image classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from ..config.bundled import resolve
from ..data.images import to_pixels


class AttributeJudge:
    """An image classifier with labels of the form "attribute:value"."""

    def __init__(self, source: str, **how: Any) -> None:
        """source: a folder or hub id; how: what `from_pretrained` takes, such as its revision."""
        from transformers import AutoModelForImageClassification

        model = AutoModelForImageClassification.from_pretrained(resolve(source), dtype=torch.float32, **how)
        self.model = model.eval()
        names = [self.model.config.id2label[i].partition(":") for i in range(self.model.config.num_labels)]
        self.groups: dict[str, list[tuple[int, str]]] = {}  # attribute -> (index of the label, value) of each value
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


# The attributes of a creature; others, such as the scene, are of the picture around it.
IDENTITY = ("object", "colour", "pattern", "accent")


def attribute_accuracy(
    drawn: Sequence[dict[str, str]], references: Sequence[dict[str, str]], scenes: Sequence[str | None]
) -> dict[str, float]:
    """Which share of the drawn pictures shows what it should.

    For each attribute of IDENTITY: the share with the value that most references have; "attributes": the mean of
    these; "scene": the share in the scene that was asked for, among pictures for which one was (None: any scene).
    """
    figures = {}
    for attribute in IDENTITY:
        seen = [reference[attribute] for reference in references]
        usual = max(set(seen), key=seen.count)
        figures[attribute] = sum(answer[attribute] == usual for answer in drawn) / len(drawn)
    figures["attributes"] = sum(figures.values()) / len(figures)
    asked = [(answer["scene"], scene) for answer, scene in zip(drawn, scenes, strict=True) if scene]
    figures["scene"] = sum(answer == scene for answer, scene in asked) / max(1, len(asked))
    return figures
