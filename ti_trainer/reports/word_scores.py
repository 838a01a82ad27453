"""Which words a CLIP finds in pictures: a shortlist for a search that costs more for each word."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, zip_longest

import torch.nn.functional as F
from PIL import Image

from ..method.phrases import with_article
from .scorers import ClipScorer

FRAMES = ("a photo of {}", "a picture of {}", "{}", "a good photo of {}", "a close-up photo of {}")
NEIGHBOURS = 10
CENTRING = 0.5


def score_words(scorer: ClipScorer, images: Sequence[Image.Image], words: Sequence[str]) -> list[tuple[str, float]]:
    """Words with their scores, best first.

    A word's score is the mean cosine of its text with the pictures, minus CENTRING of the mean cosine with the texts of
    its NEIGHBOURS nearest other words: words that lie close to many others lie close to every picture too. This is the
    rule of Conneau et al. 2018 ("Word translation without parallel data", section 2.3), with neighbours among the words
    because of pictures there are few. A text is the mean over FRAMES.
    """
    texts = [scorer.text_features([frame.format(with_article(word)) for word in words]) for frame in FRAMES]
    features = F.normalize(sum(texts[1:], texts[0]), dim=-1)  # (words, P)
    alike = features @ features.T  # (words, words)
    nearest = alike.fill_diagonal_(-1).topk(min(NEIGHBOURS, len(words) - 1)).values.mean(1)  # (words,)
    fit = (features @ scorer.image_features(images).T).mean(1)  # (words,)
    scores = fit - CENTRING * nearest.nan_to_num()  # a single word has no neighbours
    return sorted(zip(words, scores.tolist(), strict=True), key=lambda each: -each[1])


def shortlist(ranked: Sequence[tuple[str, float]], count: int, describing: Collection[str]) -> list[str]:
    """`count` of the ranked words: the best name, the best describing word, the second name, and so on.

    What a thing is and how it looks compete otherwise, and its name alone explains most of a picture.
    """
    names = [word for word, _ in ranked if word not in describing]
    looks = [word for word, _ in ranked if word in describing]
    return [word for word in chain.from_iterable(zip_longest(names, looks)) if word][:count]
