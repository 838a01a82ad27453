"""Counting what the judge sees."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any, cast

import torch

from sample_data.world.attributes import Description, draw_description
from sample_data.world.judge import ATTRIBUTES, labels
from sample_data.world.pictures import real_picture
from sample_data.world.steering import accuracies, ask


def test_answers_are_read_from_the_right_logits() -> None:
    rng = random.Random(0)
    truth = [draw_description(rng) for _ in range(300)]
    logits = torch.full((len(truth), sum(len(values) for values in ATTRIBUTES.values())), -1.0)
    for row, seen in enumerate(truth):
        start = 0
        for label, values in zip(labels(seen), ATTRIBUTES.values(), strict=True):
            logits[row, start + label] = 1.0
            start += len(values)
    calls = iter(logits.split(250))

    def judge(pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=next(calls).to(pixel_values.device))

    answers = ask(cast(Any, judge), [real_picture(0)] * len(truth))
    for answer, seen in zip(answers, truth, strict=True):
        assert answer == {name: getattr(seen, name) or "none" for name in ATTRIBUTES}


def test_accuracies_count_only_what_was_asked() -> None:
    wanted = [
        Description("cat", "red", "plain", None, "large", "left", "snow", "white"),
        Description("cat", "red", "striped", "blue", "large", "left", "snow", "white"),
        Description("dog", "red", "spotted", "pink", "large", "left", "snow", "white"),
        Description("dog", "red", "plain", "pink", "large", "left", "snow", "white"),
    ]
    said = {"object": "cat", "colour": "red", "pattern": "striped", "accent": "pink"}
    said |= {"size": "small", "place": "left", "scene": "snow"}
    shares = accuracies([said] * 4, wanted)
    assert shares["object"] == 2 / 4
    assert shares["colour"] == shares["scene"] == shares["place"] == 1
    assert shares["size"] == 0
    assert shares["pattern"] == 1 / 4
    assert shares["pattern, not plain"] == 1 / 2
    assert shares["accent, where there is one"] == 2 / 3
    assert shares["accent or none"] == 2 / 4
    assert accuracies([said | {"accent": "none"}], wanted[:1])["accent or none"] == 1
    assert math.isnan(accuracies([said], wanted[:1])["accent, where there is one"])
