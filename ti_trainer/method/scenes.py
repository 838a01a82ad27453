"""What a picture shows around its subject, in a phrase from a list."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .suggest import Losses
from .vocabulary import Vocabulary
from .word_list import SHORTEST, whole_words

PHRASES = """
    on grass, in the snow, on the beach, in a forest, in a field, in a garden, in a park, in the mountains,
    in the desert, in the water, by a lake, by the sea, in the sky, under a tree, among flowers, on a rock, on sand,
    on leaves, on a street, on a road, in a city, in front of a house, in front of a wall, in front of a window,
    at a fence, on stairs, in a car, in a boat, in a shop, in a museum, in an office, in a kitchen, in a bathroom,
    in a bedroom, in a living room, on a bed, on a sofa, on a chair, on a table, on a desk, on a shelf, on a carpet,
    on a blanket, on a wooden floor, on a stone floor, on a plate, in a box, in a hand, on a stage, in a crowd,
    on a white background, on a black background, on a grey background, on a red background, on an orange background,
    on a yellow background, on a green background, on a blue background, on a purple background, on a pink background,
    on a brown background,
    at night, at sunset, in the rain, in the fog, in bright sunlight, in the shade, by candlelight, under a lamp
"""
SCENES = tuple(" ".join(phrase.split()) for phrase in PHRASES.split(","))

ROUNDS = (4, 8, 16)  # draws of the texts that are left
SURVIVORS = 1 / 3  # of a round's texts that enter the next
WORTH = 0.005  # part of the loss by which it has to fall; phrases that do not fit often make it fall a little


def known_phrases(vocabulary: Vocabulary, phrases: Sequence[str]) -> list[str]:
    """The phrases that have no word of SHORTEST letters or more but such as the vocabulary has whole and trained.

    Others mean nothing to the model, and a little noise would choose among them.
    """
    known = set(whole_words(vocabulary))
    return [phrase for phrase in phrases if all(word in known or len(word) < SHORTEST for word in phrase.split())]


def least_loss(losses: Losses, texts: Sequence[str]) -> int:
    """The number of the text with the least loss, by successive halving (Jamieson & Talwalkar 2016).

    Each of ROUNDS brings the texts that are left to so many draws, and SURVIVORS of them enter the next. The first text
    stays to the end, and is the answer where no other loss is less by WORTH of its own.
    """
    sums = torch.zeros(len(texts), dtype=torch.float64)
    left = list(range(1, len(texts)))
    done = 0
    for count in ROUNDS:
        measured = [0, *left]
        sums[measured] += losses([texts[number] for number in measured], range(done, count)).double().sum(1)
        left = sorted(left, key=lambda number: sums[number].item())[: math.ceil(SURVIVORS * len(left))]
        done = count
    best = left[0] if left else 0
    return best if sums[best] < (1 - WORTH) * sums[0] else 0
