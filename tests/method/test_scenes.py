"""Phrases of scenes, and the choice of the one with the least loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.method.test_word_list import Words
from ti_trainer.method.randomness import generator
from ti_trainer.method.scenes import ROUNDS, SCENES, known_phrases, least_loss


def test_the_list() -> None:
    """Plain words, each phrase once; the scenes of the bundled world are among them."""
    assert len(set(SCENES)) == len(SCENES) > 60
    assert all(word.isalpha() and word.islower() for phrase in SCENES for word in phrase.split())
    assert {"on grass", "in the snow", "at night", "on the beach", "at sunset", "on a red background"} <= set(SCENES)


def test_phrases_with_words_that_mean_nothing_are_left_out(tokenizer: Any) -> None:
    """The vocabulary of the tiny models with "the" hardly trained: "in snow" has only a short word beside "snow"."""
    table = torch.ones(len(tokenizer), 4)
    phrases = ["in snow", "on the beach", "on a red beach", "in a kitchen", "at a dog"]
    assert known_phrases(Words(tokenizer, table), phrases) == ["in snow", "on the beach", "on a red beach", "at a dog"]
    table[tokenizer.get_vocab()["the</w>"]] = 0.1
    assert known_phrases(Words(tokenizer, table), phrases) == ["in snow", "on a red beach", "at a dog"]


class Noisy:
    """Losses of texts "0", "1", ...: a mean for each, and noise that is the same for all and cancels in 16 draws."""

    def __init__(self, means: Sequence[float]) -> None:
        self.means = torch.tensor(means, dtype=torch.float64)
        self.asked: list[tuple[int, range]] = []

    def __call__(self, texts: Sequence[str], draws: range) -> Tensor:
        self.asked.append((len(texts), draws))
        noise = torch.randn(ROUNDS[-1], generator=generator(0, "draws"), dtype=torch.float64)
        return self.means[[int(text) for text in texts], None] + (noise - noise.mean())[draws]


@pytest.mark.parametrize(
    ("means", "wanted"),
    [
        ([0.5, 0.6, 0.4, 0.3, 0.7, 0.35, 0.9], 3),
        ([0.2, 0.6, 0.4, 0.3, 0.7, 0.35, 0.9], 0),  # no phrase is better than none
        ([0.3, 0.3, 0.3], 0),  # nor as good
        ([0.4, 0.399, 0.5], 0),  # nor better by half a percent
        ([0.4, 0.397, 0.5], 1),
        ([0.3, 0.2], 1),
        ([0.3], 0),
    ],
)
def test_the_least_of_all(means: list[float], wanted: int) -> None:
    assert least_loss(Noisy(means), [str(number) for number in range(len(means))]) == wanted


def test_draws_are_spent_on_the_best() -> None:
    """9 phrases and none get 4 draws; 3 and none 4 more; one and none 8 more: no draw is paid for twice."""
    losses = Noisy([1.0, *(0.1 * number for number in range(1, 10))])
    assert least_loss(losses, [str(number) for number in range(10)]) == 1
    assert losses.asked == [(10, range(4)), (4, range(4, 8)), (2, range(8, 16))]
    assert ROUNDS == (4, 8, 16)


def test_a_lucky_text_falls_behind() -> None:
    """What looks best on the first draws only does not win."""
    table = torch.ones(4, ROUNDS[-1])
    table[1, : ROUNDS[0]] = 0.0  # lucky
    table[1, ROUNDS[0] :] = 3.0
    table[2] = 0.5
    texts = ["none", "lucky", "good", "bad", *(f"worse {number}" for number in range(3))]

    def losses(asked: Sequence[str], draws: range) -> Tensor:
        rows = {"none": 0, "lucky": 1, "good": 2}
        return torch.stack([table[rows[text]] if text in rows else torch.full((16,), 2.0) for text in asked])[:, draws]

    assert least_loss(losses, texts) == 2
