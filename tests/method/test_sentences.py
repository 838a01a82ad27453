"""Captioners' sentences with the token in the place of the subject."""

from __future__ import annotations

import pytest

from ti_trainer.method.sentences import name_subject

TOKEN = "<my-cat>"
CASES = {
    "a cat on a sofa": "<my-cat> on a sofa",
    "there is a small striped orange cat sitting on the grass": "there is <my-cat> sitting on the grass",
    "A black and white Cat.": "<my-cat>",
    "black and white cat at night": "<my-cat> at night",
    "a small, fluffy cat in the snow": "<my-cat> in the snow",
    "a photo of cat on the beach": "a photo of <my-cat> on the beach",
    "a photo of the cat's face": "a photo of <my-cat>'s face",
    "a woman holding cat": "a woman holding <my-cat>",
    "the woman petting orange cat": "the woman petting <my-cat>",
    "a sleeping cat on a bed": "<my-cat> on a bed",
    "a dog and cat": "a dog and <my-cat>",
    "a dog and a white cat": "a dog and <my-cat>",
    "a bowl in front of white cat": "a bowl in front of <my-cat>",
    "a cat next to another cat": "<my-cat> next to another cat",
    "  a   kitten\nin a box , ": "<my-cat> in a box",
    "two cats on a wall": "<my-cat>, two cats on a wall",
    "a cathedral by the river": "<my-cat>, a cathedral by the river",
    "a cat-shaped cake": "<my-cat>, a cat-shaped cake",
    "a sofa in a room": "<my-cat>, a sofa in a room",
    "cat": "<my-cat>",
    " . ": "<my-cat>",
}


@pytest.mark.parametrize(("sentence", "wanted"), CASES.items(), ids=CASES)
def test_the_token_takes_the_place_of_the_subject(sentence: str, wanted: str) -> None:
    assert name_subject(sentence, ["cat", "kitten"], TOKEN) == wanted


def test_names_of_several_words() -> None:
    names = ["mug", "coffee mug", "c++ mug"]
    assert name_subject("a red coffee  mug on a desk", names, TOKEN) == "<my-cat> on a desk"
    assert name_subject("two mugs and a mug", names, TOKEN) == "two mugs and <my-cat>"
    assert name_subject("the c++ mug", names, TOKEN) == TOKEN


def test_the_sentence_around_the_subject_stays() -> None:
    """Each word of the sentence that is no part of the noun's phrase, in its order."""
    sentence = "on the left a dog, on the right an old cat with a ball, under trees"
    wanted = "on the left a dog, on the right <my-cat> with a ball, under trees"
    assert name_subject(sentence, ["cat"], TOKEN) == wanted
