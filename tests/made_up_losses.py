"""Losses of texts that are made up so that the best phrase is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ti_trainer.method.randomness import generator

WORDS = (
    *("cat", "dog", "car", "tree", "house", "boat", "fish", "bird", "red", "orange", "yellow", "green", "blue", "pink"),
    *("striped", "spotted", "small", "shiny", "collar", "hat", "wheels", "roof", "moon", "snow"),
)


class MadeUp:
    """Losses that fall by `gains` for each of these words that a text has, and rise by `cost` for each other word.

    A word after "with" counts as "with WORD". Every draw adds something to all texts alike (of size 1, far more than
    any word), and something to each text (of size `noise`). misplaced: what it costs that "cat" is not the last word.
    """

    def __init__(
        self,
        gains: Mapping[str, float],
        cost: float = 0.02,
        noise: float = 0.05,
        seed: int = 0,
        misplaced: float = 0.02,
    ) -> None:
        self.gains = gains
        self.cost = cost
        self.misplaced = misplaced
        self.noise = noise
        self.seed = seed
        self.passes = 0

    def level(self, text: str) -> float:
        thing, _, part = text.partition(" with ")
        words = [*thing.split(), *(f"with {word}" for word in part.split()[1:])]
        last = thing.split()[-1]
        misplaced = self.misplaced if "cat" in words and last != "cat" else 0.0
        return 3 + misplaced - sum(self.gains.get(word, -self.cost) for word in words)

    def __call__(self, texts: Sequence[str], draws: range) -> Tensor:
        self.passes += len(texts) * len(draws)
        rows = [
            [self.level(text) + self.at(draw) + self.noise * self.at(text, draw) for draw in draws] for text in texts
        ]
        return torch.tensor(rows)

    def at(self, *place: str | int) -> float:
        return torch.randn((), generator=generator(self.seed, *place)).item()


CAT = {"cat": 0.3, "orange": 0.2, "striped": 0.1, "with blue": 0.15}


CAT = {"cat": 0.3, "orange": 0.2, "striped": 0.1, "with blue": 0.15}
