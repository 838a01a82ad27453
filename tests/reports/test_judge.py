"""Attributes told by a classifier against a loop over its labels, and shares against counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_judge import labels_seen
from ti_trainer.reports.judge import AttributeJudge, attribute_accuracy


def test_the_judge_takes_the_best_of_each_attribute(judge_folder: Path, images: list[Image.Image]) -> None:
    draws = np.random.default_rng(0)
    images = [*images, *(Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(8))]
    answers = AttributeJudge(str(judge_folder))(images)
    assert answers == [labels_seen(judge_folder, image) for image in images]
    assert len({tuple(answer.values()) for answer in answers}) > 1  # it does not always say the same


def test_attribute_accuracy_is_what_counting_gives() -> None:
    cat = {"object": "cat", "colour": "red", "pattern": "plain", "accent": "hat", "scene": "grass"}
    references = [cat, {**cat, "colour": "blue"}, {**cat, "scene": "snow"}]
    drawn = [
        cat,
        {**cat, "object": "dog", "scene": "snow"},
        {**cat, "colour": "blue", "object": "dog"},
        {**cat, "accent": "none"},
    ]
    figures = attribute_accuracy(drawn, references, [None, "snow", "night", "grass"])
    assert figures == {
        "object": 0.5,
        "colour": 0.75,
        "pattern": 1.0,
        "accent": 0.75,
        "attributes": 0.75,
        "scene": pytest.approx(2 / 3),
    }
