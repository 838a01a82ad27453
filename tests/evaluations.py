"""Evaluations from numbers, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from ti_trainer.config.bundled import TINY_SD
from ti_trainer.reports.arms import Arm
from ti_trainer.reports.evaluation import Drawing, Evaluation
from ti_trainer.reports.prompts import Prompt

PROMPTS = (Prompt("a {token}"), Prompt("a {token} at night"))
COLOURS = ("red", "lime", "blue", "yellow", "cyan")


@dataclass
class Told:
    """A judge that has judged already."""

    name: str
    measures: tuple[str, ...]
    kind: str = "clip"
    revision: str = "weights 123"
    reals: dict[str, float] = field(default_factory=dict)

    def real(self) -> dict[str, float]:
        return self.reals


def evaluation(values: Mapping[str, Mapping[str, Sequence[float]]], judges: Sequence[Told]) -> Evaluation:
    """values: arm -> "JUDGE.MEASURE" -> a number a picture; arms such as "step 20" are checkpoints.

    The pictures of an arm have one colour, another for each, and the two real ones are white.
    """
    seen = {
        arm: [
            {m: torch.tensor(own[f"{judge.name}.{m}"], dtype=torch.float64) for m in judge.measures} for judge in judges
        ]
        for arm, own in values.items()
    }
    steps = {arm: int(arm[5:]) if arm.startswith("step") else None for arm in values}
    arms = [Arm(arm, "<my-cat>", arm, steps[arm]) for arm in values]
    shown = {arm: [Image.new("RGB", (32, 32), colour)] * 2 for arm, colour in zip(values, COLOURS, strict=False)}
    white = [Image.new("RGB", (32, 32), "white")] * 2
    return Evaluation(Drawing(TINY_SD, PROMPTS, "cat", [7], 20, 5.0), white, 1, judges, arms, seen, shown)
