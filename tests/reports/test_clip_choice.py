"""Texts that a CLIP chooses, against its own logits."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from ti_trainer.config.bundled import MY_CAT, TINY_CLIP, resolve
from ti_trainer.data.images import read_image
from ti_trainer.data.sources.folders import find_pictures
from ti_trainer.method.word_list import whole_words
from ti_trainer.reports.clip_choice import CLEARLY, ClipChoice
from ti_trainer.reports.scorers import ClipScorer

TEXTS = ["a photo of a cat", "a photo of a cat on grass", "a photo of a cat in the snow", "a photo of a cat at sunset"]


@pytest.fixture(scope="module")
def choice() -> ClipChoice:
    return ClipChoice(ClipScorer(TINY_CLIP))


@pytest.fixture(scope="module")
def cats() -> list[Image.Image]:
    return [read_image(each.picture) for each in find_pictures(resolve(MY_CAT)).found]


def logits(choice: ClipChoice, image: Image.Image) -> list[float]:
    """One pair at a time, from CLIPModel itself."""
    found = []
    for text in TEXTS:
        tokens = choice.scorer.tokenizer(text, return_tensors="pt").input_ids
        pixels = choice.scorer.processor(image, return_tensors="pt").pixel_values
        with torch.no_grad():
            found.append(choice.scorer.model(input_ids=tokens, pixel_values=pixels).logits_per_image.item())
    return found


def test_the_nearest_text_is_chosen(choice: ClipChoice, cats: list[Image.Image]) -> None:
    """Of each picture, also when its texts come in another order or one is asked for twice."""
    for image in cats:
        own = logits(choice, image)
        best = max(range(len(TEXTS)), key=own.__getitem__)
        wanted = best if own[best] - own[0] > CLEARLY else 0
        assert choice.choose(image, TEXTS) == wanted
        turned = [TEXTS[0], *reversed(TEXTS[1:]), TEXTS[1]]
        assert turned[choice.choose(image, turned)] == TEXTS[wanted]


def test_none_is_chosen_where_the_others_are_not_clearly_nearer(choice: ClipChoice, cats: list[Image.Image]) -> None:
    """Each text against each other one as the first."""
    chosen = 0
    for image in cats:
        own = logits(choice, image)
        for first in range(len(TEXTS)):
            for other in range(len(TEXTS)):
                picked = choice.choose(image, [TEXTS[first], TEXTS[other]])
                assert picked == int(own[other] - own[first] > CLEARLY)
                chosen += picked
    assert 10 < chosen < 70


def test_it_is_the_vocabulary_of_its_text_tower(choice: ClipChoice) -> None:
    assert choice.table.shape[0] >= len(choice.tokenizer)
    assert {"cat", "grass", "snow", "sunset"} <= set(whole_words(choice))
