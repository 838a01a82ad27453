"""Lengths and angles of rows, and what a word's length is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer.method.initializers import Start
from ti_trainer.method.lengths import is_whole_word, length_ratio, lengths_of_words, turned, word_length


class Words:
    """A tokenizer of which only the entries are asked for."""

    def __init__(self, *entries: str) -> None:
        self.entries = entries

    def get_vocab(self) -> dict[str, int]:
        return {entry: number for number, entry in enumerate(self.entries)}


@dataclass(frozen=True)
class Known:
    tokenizer: Any
    table: Tensor


def of_lengths(lengths: list[float], width: int = 6) -> Tensor:
    """Rows (n, width) of these lengths, in random directions."""
    rows = torch.randn(len(lengths), width, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(rows, dim=1) * torch.tensor(lengths)[:, None]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        *(("cat</w>", True), ("\u2581cat", True), ("\u0120cat", True)),
        *(("cat", False), ("a</w>", False), ("\u2581a", False), ("!!</w>", False), ("12</w>", False)),
        *(("<|endoftext|>", False), ("</w>", False), ("\u2581", False)),
    ],
)
def test_whole_words(entry: str, expected: bool) -> None:
    assert is_whole_word(entry) is expected


def test_a_words_length_is_the_median_where_words_are_about_equal() -> None:
    """Pieces, letters, and entries beyond the table count for nothing."""
    words = ["red</w>", "cat</w>", "dog</w>", "sun</w>", "sky</w>"]
    lengths = [0.42, 0.38, 0.40, 0.41, 0.39]
    known = Known(Words(*words, "ca", "a</w>", "<|endoftext|>", "late</w>"), of_lengths([*lengths, 9.0, 9.0, 9.0]))
    assert word_length(known) == pytest.approx(0.40, rel=1e-6)


def test_words_that_were_hardly_trained_decide_nothing() -> None:
    """70 of length .2 have the sum of squares 2.8, and 30 of length 1 to 1.29 have 39.6."""
    lengths = [0.2] * 70 + [1 + number / 100 for number in range(30)]
    names = [f"{first}{second}</w>" for first in "abcdefghij" for second in "abcdefghij"]
    known = Known(Words(*names), of_lengths(lengths))
    half = sum(length**2 for length in lengths) / 2
    total = 0.0
    for wanted in lengths:
        total += wanted**2
        if total >= half:
            break
    assert word_length(known) == pytest.approx(wanted, rel=1e-6)
    assert 1.1 < wanted < 1.25


def test_a_vocabulary_without_whole_words_is_measured_as_a_whole() -> None:
    assert word_length(Known(Words("a", "b", "c"), of_lengths([1.0, 1.1, 1.2]))) == pytest.approx(1.1, rel=1e-6)


def test_with_what_rows_are_compared() -> None:
    """Rows that start from words with their own start, others with a word of the vocabulary."""
    known = {"clip_l": Known(Words("red</w>", "cat</w>", "dog</w>"), of_lengths([0.38, 0.40, 0.42]))}
    initial = {"clip_l": of_lengths([3.0, 5.0])}
    for start in (Start("<my-cat>", "cat"), Start("<my-cat>", "red cat"), Start("cat", tune=True)):
        own = lengths_of_words(start, initial, known)["clip_l"]
        torch.testing.assert_close(own, torch.tensor([3.0, 5.0]))
    for init in ("random", "file:old.safetensors"):
        common = lengths_of_words(Start("<my-cat>", init), initial, known)["clip_l"]
        torch.testing.assert_close(common, torch.tensor([0.4, 0.4]))


def test_length_ratio() -> None:
    rows = {"clip_l": of_lengths([2.0, 6.0]), "clip_g": of_lengths([1.0, 1.0], width=9)}
    words = {"clip_l": torch.tensor([1.0, 2.0]), "clip_g": torch.tensor([0.5, 0.25])}
    assert length_ratio(rows, words).item() == pytest.approx((2 + 3 + 2 + 4) / 4)


def test_angles() -> None:
    """30 and 90 degrees, one of a thousandth, and no angle; lengths do not count."""
    angles = torch.tensor([30.0, 90.0, 0.001, 0.0], dtype=torch.float64).deg2rad()
    here = torch.stack([angles.cos(), angles.sin()], dim=1) * 7
    there = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(4, 1)
    found = turned({"a": here[:1], "b": here[1:]}, {"a": there[:1], "b": there[1:]})
    torch.testing.assert_close(found, angles.rad2deg(), rtol=1e-9, atol=1e-12)
