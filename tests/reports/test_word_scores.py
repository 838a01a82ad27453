"""Words that a CLIP finds in pictures, against a simple re-computation."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from ti_trainer.config.bundled import MY_CAT, TINY_CLIP, resolve
from ti_trainer.data.images import read_image
from ti_trainer.data.sources.folders import find_pictures
from ti_trainer.method.word_list import DESCRIBING_WORDS
from ti_trainer.reports.scorers import ClipScorer
from ti_trainer.reports.word_scores import CENTRING, FRAMES, NEIGHBOURS, score_words, shortlist

WORDS = """
    cat dog bird fish house car boat mushroom tree flower star heart collar hat roof snow grass beach night moon orange
    red blue green white black purple striped spotted
""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def scorer() -> ClipScorer:
    return ClipScorer(TINY_CLIP)


@pytest.fixture(scope="module")
def cats() -> list[Image.Image]:
    return [read_image(each.picture) for each in find_pictures(resolve(MY_CAT)).found]


def test_a_simple_recomputation(scorer: ClipScorer, cats: list[Image.Image]) -> None:
    """The mean over pictures of a cosine, minus half of the mean of the ten largest cosines with other words."""
    texts = {}
    for word in WORDS:
        article = "an" if word[0] in "aeiou" else "a"
        mean = sum(scorer.text_features([frame.format(f"{article} {word}")])[0] for frame in FRAMES)
        texts[word] = mean / mean.norm()  # type: ignore[union-attr]
    pictures = [scorer.image_features([image])[0] for image in cats]
    wanted = {}
    for word, text in texts.items():
        alike = sorted((float(text @ other) for name, other in texts.items() if name != word), reverse=True)
        fit = sum(float(text @ picture) for picture in pictures) / len(pictures)
        wanted[word] = fit - CENTRING * sum(alike[:NEIGHBOURS]) / NEIGHBOURS
    found = score_words(scorer, cats, WORDS)
    assert dict(found) == pytest.approx(wanted, abs=1e-5)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_the_words_of_the_bundled_cat(scorer: ClipScorer, cats: list[Image.Image]) -> None:
    """A striped orange cat with a blue collar; the scenes of its pictures come after it."""
    ranked = score_words(scorer, cats, WORDS)
    assert {"cat", "orange", "striped"} <= set(shortlist(ranked, 12, DESCRIBING_WORDS))


def test_a_single_word(scorer: ClipScorer, cats: list[Image.Image]) -> None:
    """It has no neighbours: its score is its cosine."""
    ((word, score),) = score_words(scorer, cats, ["cat"])
    texts = torch.stack([scorer.text_features([frame.format("a cat")])[0] for frame in FRAMES]).sum(0)
    wanted = (scorer.image_features(cats) @ (texts / texts.norm())).mean().item()
    assert (word, score) == ("cat", pytest.approx(wanted, abs=1e-5))


def test_a_shortlist_has_names_and_looks_in_turn() -> None:
    ranked = [(word, 1.0) for word in ("red", "cat", "blue", "dog", "white", "bird", "fish", "house")]
    describing = {"red", "blue", "white"}
    assert shortlist(ranked, 4, describing) == ["cat", "red", "dog", "blue"]
    everything = ["cat", "red", "dog", "blue", "bird", "white", "fish", "house"]
    assert shortlist(ranked, 20, describing) == everything
    assert shortlist(ranked[:1], 3, describing) == ["red"]
